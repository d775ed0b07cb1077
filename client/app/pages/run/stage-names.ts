import type { Stage } from '../../../hooks/index.ts';

/**
 * Finds the name of a stage in a list that is replaced up to 60 times a second. An index holds the positions of the stages
 * in an earlier list. The index is rebuilt only if a stage is not at its indexed position: building an index of 10,000
 * stages in each frame would be too slow.
 */
export class StageNames {
  #positions = new Map<string, number>();
  #indexed: readonly Stage[] = [];

  of(stages: readonly Stage[], stageId: string): string {
    if (this.#at(stages, stageId) === undefined && this.#mayHave(stages, stageId)) {
      this.#positions = new Map(stages.map((stage, position) => [stage.stageId, position]));
      this.#indexed = stages;
    }
    return this.#at(stages, stageId)?.name ?? stageId;
  }

  #at(stages: readonly Stage[], stageId: string): Stage | undefined {
    const stage = stages[this.#positions.get(stageId) ?? -1];
    return stage?.stageId === stageId ? stage : undefined;
  }

  /**
   * Returns false if the list cannot contain the stage. A run gains stages and never loses one, so a list as long as the
   * indexed list has the same stages, perhaps at other positions.
   */
  #mayHave(stages: readonly Stage[], stageId: string): boolean {
    return stages !== this.#indexed && (this.#positions.has(stageId) || stages.length !== this.#indexed.length);
  }
}
