import type { Stage } from '../../../react/index.tsx';

/**
 * Names of stages by id, of a list that is replaced sixty times a second. Where each stands is looked up again only when
 * it stands there no more: a table of 10,000 made anew for every frame would take a good part of it.
 */
export class StageNames {
  #places = new Map<string, number>();
  #indexed: readonly Stage[] = [];

  of(stages: readonly Stage[], stageId: string): string {
    if (this.#at(stages, stageId) === undefined && this.#mayHave(stages, stageId)) {
      this.#places = new Map(stages.map((stage, place) => [stage.stageId, place]));
      this.#indexed = stages;
    }
    return this.#at(stages, stageId)?.name ?? stageId;
  }

  #at(stages: readonly Stage[], stageId: string): Stage | undefined {
    const stage = stages[this.#places.get(stageId) ?? -1];
    return stage?.stageId === stageId ? stage : undefined;
  }

  /** A stage that was not there is there only if there are more of them now. */
  #mayHave(stages: readonly Stage[], stageId: string): boolean {
    return stages !== this.#indexed && (this.#places.has(stageId) || stages.length !== this.#indexed.length);
  }
}
