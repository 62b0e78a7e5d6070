// Tiles: a window's answer painted once as pixels, then moved and stretched while the view pans and zooms.

import { type Axis } from "./axis.ts";
import { ERROR, ERROR_BIT, FULL_STATE, MOST_LEVEL, RECEIVED, SENT, STATE, type Tile, WARNING } from "./api.ts";

export const ROW_PX = 22;
const INNER_PX = 16;
const MARK_PX = 6;
const MARKED = STATE | FULL_STATE | SENT | RECEIVED;
const TOP_PX = (ROW_PX - INNER_PX) / 2;

export interface Colours {
  activity: string;
  error: string;
  warning: string;
  state: string;
  message: string;
  ink: string;
  soft: string;
  line: string;
  page: string;
  chosen: string;
  accent: string;
}

export function colours(): Colours {
  const style = getComputedStyle(document.documentElement);
  const of = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  return {
    activity: of("activity"),
    error: of("error"),
    warning: of("warning"),
    state: of("state"),
    message: of("message"),
    ink: of("ink"),
    soft: of("soft"),
    line: of("line"),
    page: of("page"),
    chosen: of("chosen"),
    accent: of("accent"),
  };
}

/** One painted window: lanes `rows` (numbers, top to bottom) from u0 to u1. */
export interface Painted {
  u0: number;
  u1: number;
  rows: readonly number[];
  canvas: HTMLCanvasElement;
  data: Tile;
}

export function paint(data: Tile, axis: Axis, u0: number, u1: number, rows: readonly number[], px: number, c: Colours): Painted {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, px);
  canvas.height = Math.max(1, rows.length * ROW_PX);
  const context = canvas.getContext("2d", { willReadFrequently: false })!;
  if (data.mode === "bins") paintBins(context, data, rows.length, c);
  else paintEvents(context, data, axis, u0, u1, px, c);
  return { u0, u1, rows, canvas, data };
}

function packed(colour: string): [number, number, number] {
  const hex = /^#([0-9a-f]{6})$/i.exec(colour)?.[1] ?? "888888";
  return [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)) as [number, number, number];
}

function paintBins(context: CanvasRenderingContext2D, data: Tile, rows: number, c: Colours): void {
  const width = data.px;
  const image = context.createImageData(width, rows * ROW_PX);
  const pixels = new Uint32Array(image.data.buffer);
  const [r, g, b] = packed(c.activity);
  const [er, eg, eb] = packed(c.error);
  const error = (255 << 24) | (eb << 16) | (eg << 8) | er;
  for (let row = 0; row < rows; row++) {
    const base = row * width;
    for (let x = 0; x < width; x++) {
      const level = data.bins[base + x]! & MOST_LEVEL;
      if (level === 0) continue;
      const height = 4 + Math.round((level / MOST_LEVEL) * (INNER_PX - 4));
      const alpha = 150 + Math.round((level / MOST_LEVEL) * 105);
      const colour = ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0;
      const bottom = row * ROW_PX + TOP_PX + INNER_PX;
      for (let y = bottom - height; y < bottom; y++) pixels[y * width + x] = colour;
    }
    // An error is visible at any zoom: two pixels wide, the full height, with a cap above the row.
    for (let x = 0; x < width; x++) {
      if (!(data.bins[base + x]! & ERROR_BIT)) continue;
      const top = row * ROW_PX + 1;
      for (let y = top; y < row * ROW_PX + TOP_PX + INNER_PX; y++) {
        for (let dx = 0; dx < 2 && x + dx < width; dx++) pixels[y * width + x + dx] = error;
      }
      for (let dx = -1; dx < 3; dx++) {
        if (x + dx >= 0 && x + dx < width) pixels[top * width + x + dx] = pixels[(top + 1) * width + x + dx] = error;
      }
    }
  }
  context.putImageData(image, 0, 0);
}

function paintEvents(context: CanvasRenderingContext2D, data: Tile, axis: Axis, u0: number, u1: number, px: number, c: Colours): void {
  const scale = px / (u1 - u0);
  const x = (t: number): number => (axis.toU(t) - u0) * scale;
  const marked: number[] = [];
  const draw = (n: number): void => {
    const flags = data.flags[n]!;
    const end = x(data.t[n]!);
    const begin = data.durationUs[n]! > 0 ? x(data.t[n]! - data.durationUs[n]!) : end;
    const top = data.lane[n]! * ROW_PX;
    const colour = flags & ERROR ? c.error : flags & WARNING ? c.warning : flags & (SENT | RECEIVED) ? c.message : c.activity;
    context.fillStyle = colour;
    if (end - begin >= 2.5) {
      context.globalAlpha = flags & ERROR ? 0.9 : 0.5;
      context.beginPath();
      context.roundRect(begin, top + TOP_PX + 2, end - begin, INNER_PX - 4, 2);
      context.fill();
      context.globalAlpha = 1;
    }
    // Marks that would cover each other are left out; lines and errors never are.
    const isFree = end - (marked[data.lane[n]!] ?? -Infinity) >= MARK_PX;
    if (flags & ERROR) triangle(context, end, top + 1, 5, 8);
    context.fillRect(end - 0.75, top + TOP_PX + (flags & ERROR ? 2 : 3), flags & ERROR ? 2 : 1.5, INNER_PX - 5);
    if (!isFree || flags & ERROR) return;
    if (flags & MARKED) marked[data.lane[n]!] = end;
    if (flags & FULL_STATE) {
      context.strokeStyle = c.state;
      context.strokeRect(end - 3, top + TOP_PX + INNER_PX - 6, 6, 6);
    } else if (flags & STATE) {
      context.beginPath();
      context.arc(end, top + TOP_PX + INNER_PX - 3, 2.5, 0, 7);
      context.fillStyle = c.state;
      context.fill();
    } else if (flags & SENT) triangle(context, end, top + TOP_PX + 1, 3.5, 5);
    else if (flags & RECEIVED) triangle(context, end, top + TOP_PX + INNER_PX, 3.5, -5);
  };
  for (let n = 0; n < data.t.length; n++) if (!(data.flags[n]! & ERROR)) draw(n);
  for (let n = 0; n < data.t.length; n++) if (data.flags[n]! & ERROR) draw(n); // above the others
}

function triangle(context: CanvasRenderingContext2D, x: number, y: number, half: number, height: number): void {
  context.beginPath();
  context.moveTo(x - half, y);
  context.lineTo(x + half, y);
  context.lineTo(x, y + height);
  context.closePath();
  context.fill();
}

/** The number of the event nearest to a place in an events tile, within `most` pixels; -1 for none. */
export function nearest(tile: Painted, axis: Axis, position: number, u: number, uPerPx: number, most: number): number {
  let found = -1;
  let best = most * uPerPx;
  const { data } = tile;
  for (let n = 0; n < data.t.length; n++) {
    if (data.lane[n] !== position) continue;
    const distance = Math.abs(axis.toU(data.t[n]!) - u);
    if (distance < best || (distance === best && data.flags[n]! & ERROR)) {
      best = distance;
      found = n;
    }
  }
  return found;
}
