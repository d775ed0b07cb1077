import type { RunView, Stage } from '../../../hooks/index.ts';
import { formatDuration } from '../../lib/format.ts';

const [WIDTH, NAME_WIDTH, ROW, HEAD, MARGIN] = [1_400, 380, 26, 64, 20];
/** Browsers limit the height of a canvas. */
const MAX_STAGES = 600;

/** Draws the stages of a run as bars, and returns the image as a `data:` URL. */
export async function timelinePng(run: RunView): Promise<string> {
  const stages = run.stages.slice(0, MAX_STAGES);
  const canvas = document.createElement('canvas');
  canvas.width = WIDTH;
  canvas.height = HEAD + ROW * (stages.length + Number(stages.length < run.stages.length)) + MARGIN;
  const pen = canvas.getContext('2d');
  if (!pen) throw new Error('no canvas');
  const style = getComputedStyle(document.body);
  const font = style.fontFamily;
  pen.fillStyle = style.backgroundColor;
  pen.fillRect(0, 0, canvas.width, canvas.height);
  const colour = style.color;
  const text = (value: string, x: number, y: number, width: number, weight = 400, size = 14) => {
    pen.font = `${weight} ${size}px ${font}`;
    pen.fillStyle = colour;
    pen.fillText(cut(pen, value, width), x, y);
  };
  text(`${run.name} · ${run.status}`, MARGIN, 30, WIDTH - 2 * MARGIN, 600, 18);
  text(`${run.projectId} / ${run.runId}`, MARGIN, 52, WIDTH - 2 * MARGIN);
  const from = Date.parse(run.startedAt ?? run.createdAt);
  const times = stages.flatMap(({ startedAt, endedAt }) =>
    [startedAt, endedAt].flatMap((at) => (at ? [Date.parse(at)] : [])),
  );
  const to = Math.max(from + 1, ...times, ...(run.endedAt ? [Date.parse(run.endedAt)] : []));
  const xOf = (at: number) => NAME_WIDTH + ((at - from) / (to - from)) * (WIDTH - NAME_WIDTH - MARGIN - 90);
  stages.forEach((stage, index) => {
    const y = HEAD + index * ROW;
    text(stage.name, MARGIN, y + 17, NAME_WIDTH - 2 * MARGIN);
    if (stage.startedAt === undefined) return;
    const start = Date.parse(stage.startedAt);
    const end = stage.endedAt === undefined ? to : Date.parse(stage.endedAt);
    const [left, right] = [xOf(start), Math.max(xOf(end), xOf(start) + 2)];
    pen.fillStyle = colourOf(stage);
    pen.fillRect(left, y + 5, right - left, ROW - 10);
    text(formatDuration(end - start), right + 6, y + 17, 84);
  });
  if (stages.length < run.stages.length) {
    text(`and ${run.stages.length - stages.length} further stages`, MARGIN, canvas.height - MARGIN, 400);
  }
  return canvas.toDataURL('image/png');
}

const colours: { [status in Stage['status']]: string } = {
  pending: '#868e94',
  running: '#1b5fa8',
  completed: '#1b6e45',
  failed: '#b02a1f',
};
const colourOf = ({ status }: Stage) => colours[status];

/** Cuts a text at the end, so that it is as wide as its place. */
function cut(pen: CanvasRenderingContext2D, text: string, width: number): string {
  if (pen.measureText(text).width <= width) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (pen.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle;
    else high = middle - 1;
  }
  return `${text.slice(0, low)}…`;
}
