// The lanes: labels, one canvas that is scrolled, panned and zoomed, the axis above it, and the minimap.

import { effect } from "@preact/signals-core";
import { type Arrow, ask, ERROR_BIT, Latest, MOST_LEVEL, type Node, type Row, type Tile, tile } from "./api.ts";
import { count, duration, plural } from "./axis.ts";
import { h, named, shown } from "./dom.ts";
import * as store from "./store.ts";
import { type Colours, colours, nearest, paint, type Painted, ROW_PX } from "./tiles.ts";

const WIDE_LABEL_PX = 190;
const NARROW_LABEL_PX = 112;
const NARROW = matchMedia("(max-width: 900px)");
const MARKS_PX = 22;
const MINIMAP_PX = 34;
const HEAD_PX = 7;
const MOST_ROWS = 140;
const QUIET_MS = 70;

export interface Lanes {
  element: HTMLElement;
  /** Scroll a lane into view. */
  reveal(lane: number): void;
}

export function makeLanes(): Lanes {
  const minimap = h("canvas", { class: "minimap", role: "img", "aria-label": "The whole session; drag to move the view" });
  const marks = h("canvas", { class: "marks", "aria-hidden": "true" });
  const canvas = h("canvas", { class: "plot", tabindex: "0", role: "application", "aria-label": "Lanes: one for each agent. Press ? for keys" });
  const labels = h("div", { class: "labels" });
  const spacer = h("div", { class: "spacer" }, labels, canvas);
  const scroller = h("div", { class: "scroller", tabindex: "-1" }, spacer);
  const tip = h("div", { class: "tip", role: "tooltip", hidden: true });
  const empty = h("p", { class: "empty", hidden: true });
  const element = h("section", { class: "lanes", "aria-label": "Lanes" }, minimap, marks, scroller, empty, tip);

  let c: Colours = colours();
  let painted: Painted | null = null;
  /** The same for the lanes of the session that this one is compared with. */
  let beside: Painted | null = null;
  /** The painted tile still shows where things are, but something was added. */
  let stale = false;
  /** How many tiles are on their way: of a session that grows, the next is asked for after the last has come. */
  let loading = 0;
  let paintedKind: string | null = null;
  let whole: Tile | null = null;
  let arrows: Arrow[] = [];
  let hover: { x: number; y: number } | null = null;
  let frame = 0;
  let timer = 0;
  const tiles = new Latest();
  const besides = new Latest();
  const wholes = new Latest();
  const messages = new Latest();
  const tips = new Latest();

  const width = (): number => Math.max(50, scroller.clientWidth - (NARROW.matches ? NARROW_LABEL_PX : WIDE_LABEL_PX));
  const height = (): number => scroller.clientHeight;
  const { view, axis, lanes, overview, cursor } = store;

  const xOf = (u: number): number => ((u - view.value.u0) / (view.value.u1 - view.value.u0)) * width();
  const uOf = (x: number): number => view.value.u0 + (x / width()) * (view.value.u1 - view.value.u0);
  const yOf = (lane: number): number | null => {
    const row = lanes.value.indexOf(lane);
    return row < 0 ? null : row * ROW_PX + ROW_PX / 2 - scroller.scrollTop;
  };

  function fitTo(target: HTMLCanvasElement, w: number, hpx: number): CanvasRenderingContext2D {
    const ratio = devicePixelRatio || 1;
    const [dw, dh] = [Math.round(w * ratio), Math.round(hpx * ratio)];
    if (target.width !== dw || target.height !== dh) {
      target.width = dw;
      target.height = dh;
      target.style.width = `${w}px`;
      target.style.height = `${hpx}px`;
    }
    const context = target.getContext("2d")!;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, w, hpx);
    return context;
  }

  function later(): void {
    if (frame === 0) {
      frame = requestAnimationFrame(() => {
        frame = 0;
        draw();
      });
    }
  }

  /** The rows that a tile should hold: those in sight, and half a screen around them. */
  function wantedRows(): { from: number; to: number } {
    const first = Math.floor(scroller.scrollTop / ROW_PX);
    const seen = Math.ceil(height() / ROW_PX) + 1;
    const from = Math.max(0, first - (seen >> 1));
    return { from, to: Math.min(lanes.value.length, from + Math.min(MOST_ROWS, seen * 2)) };
  }

  function covers(): boolean {
    return !stale && covered(painted, (row) => row >= 0 && row < store.OTHER) && covered(beside, (row) => row >= store.OTHER);
  }

  function covered(painted: Painted | null, isOwn: (row: number) => boolean): boolean {
    if (painted === null) return !lanes.value.some(isOwn);
    const { u0, u1 } = view.value;
    const ratio = (painted.u1 - painted.u0) / (u1 - u0);
    if (ratio > 4.5 || ratio < 1.2) {
      const { first, last } = axis.value;
      if (!(painted.u0 <= first && painted.u1 >= last && ratio < 1.2 && ratio > 0.99)) return false;
    }
    if (painted.u0 > Math.max(u0, axis.value.first) || painted.u1 < Math.min(u1, axis.value.last)) return false;
    const first = Math.floor(scroller.scrollTop / ROW_PX);
    const last = Math.min(lanes.value.length, first + Math.ceil(height() / ROW_PX));
    for (let row = first; row < last; row++) {
      if (isOwn(lanes.value[row]!) && !painted.rows.includes(lanes.value[row]!)) return false;
    }
    return true;
  }

  async function load(): Promise<void> {
    if (overview.value === null || lanes.value.length === 0) return;
    const { u0, u1 } = view.value;
    const span = u1 - u0;
    const [a0, a1] = [Math.max(axis.value.first, u0 - span), Math.min(axis.value.last, u1 + span)];
    const px = Math.min(4000, Math.max(1, Math.round((width() * (a1 - a0)) / span)));
    const { from, to } = wantedRows();
    const all = lanes.value.slice(from, to).filter((lane) => lane >= 0);
    const rows = all.filter((lane) => lane < store.OTHER);
    const used = axis.value;
    stale = false;
    if (store.other.value === null) beside = null;
    else if (rows.length < all.length) void loadBeside(all.filter((lane) => lane >= store.OTHER), a0, a1, px);
    if (rows.length === 0) {
      painted = null;
      later();
      return;
    }
    const query = { t0: a0, t1: a1, px, lanes: rows.join(","), ...(used.kind === "tick" && { axis: "tick" }) };
    const until = overview.value.length_us;
    loading++;
    try {
      const data = await tiles.run((signal) => tile(query, signal));
      // An axis that has grown has the same places.
      if (data === undefined || used.kind !== axis.value.kind) return;
      canvas.dataset["until"] = String(until);
      painted = paint(data, used, a0, a1, rows, px, c);
      if (store.showMessages.value) void loadMessages();
      later();
    } catch (error) {
      store.notice.value = `The lanes cannot be loaded: ${(error as Error).message}`;
    } finally {
      loading--;
      if (stale) refresh();
    }
  }

  /** Lanes of the other session, on the same axis. */
  async function loadBeside(rows: number[], a0: number, a1: number, px: number): Promise<void> {
    const [used, of] = [store.otherAxis.value, store.compared.value];
    if (of === null) return;
    const isTick = used.kind === "tick";
    const [t0, t1] = isTick ? [a0, a1] : [used.toT(a0), used.toT(a1)];
    const query = { t0, t1, px, lanes: rows.map((row) => row - store.OTHER).join(","), ...(isTick && { axis: "tick" }) };
    try {
      const data = await besides.run((signal) => tile(query, signal, of));
      if (data === undefined || used !== store.otherAxis.value) return;
      beside = paint(data, used, a0, a1, rows, px, c);
      later();
    } catch (error) {
      store.notice.value = `The lanes of ${of} cannot be loaded: ${(error as Error).message}`;
    }
  }

  async function loadWhole(): Promise<void> {
    const { first, last, kind } = axis.value;
    const query = { t0: first, t1: last, px: Math.min(2000, width()), sum: 1, ...(kind === "tick" && { axis: "tick" }) };
    const found = await wholes.run((signal) => tile(query, signal)).catch(() => undefined);
    if (found !== undefined) whole = found;
    later();
  }

  async function loadMessages(): Promise<void> {
    const { u0, u1 } = view.value;
    const query = { t0: axis.value.toT(u0), t1: axis.value.toT(u1), limit: 300 };
    const found = await messages
      .run((signal) => ask<{ arrows: Arrow[] }>("arrows", query, signal))
      .catch(() => undefined);
    arrows = found?.arrows ?? arrows;
    later();
  }

  function refresh(): void {
    later();
    clearTimeout(timer);
    if (loading > 0 && overview.value?.status === "running") return;
    if (!covers()) timer = setTimeout(() => void load(), (painted === null && beside === null) || overview.value?.status === "running" ? 0 : QUIET_MS);
  }

  function draw(): void {
    const [w, hpx] = [width(), height()];
    const context = fitTo(canvas, w, hpx);
    const top = scroller.scrollTop;
    const shownLanes = lanes.value;
    const chosen = new Set(store.agents.value);
    const first = Math.floor(top / ROW_PX);
    const last = Math.min(shownLanes.length, first + Math.ceil(hpx / ROW_PX) + 1);
    for (let row = first; row < last; row++) {
      const y = row * ROW_PX - top;
      if (chosen.has(store.laneAt(shownLanes[row]!)?.agent ?? "")) {
        context.fillStyle = c.chosen;
        context.fillRect(0, y, w, ROW_PX);
      }
      // A lane and that of the other session are one pair.
      if ((shownLanes[row + 1] ?? 0) >= store.OTHER && shownLanes[row]! < store.OTHER) continue;
      context.fillStyle = c.line;
      context.fillRect(0, y + ROW_PX - 1, w, 0.5);
    }
    for (const each of [painted, beside]) if (each !== null) blit(each, context, top, first, last);
    drawDifferences(context, first, last, top);
    drawArrows(context, w, hpx);
    drawCursor(context, hpx);
    drawMarks(w);
    drawMinimap();
    placeLabels(first, last);
  }

  function blit(painted: Painted, context: CanvasRenderingContext2D, top: number, first: number, last: number): void {
    const shownLanes = lanes.value;
    const x = xOf(painted.u0);
    const tileWidth = xOf(painted.u1) - x;
    context.imageSmoothingEnabled = false;
    let at = 0;
    while (at < painted.rows.length) {
      // Rows that follow each other in the tile and on the screen are moved in one piece.
      const row = shownLanes.indexOf(painted.rows[at]!);
      let end = at + 1;
      if (row >= 0) while (end < painted.rows.length && shownLanes[row + end - at] === painted.rows[end]) end++;
      if (row >= 0 && row < last && row + (end - at) > first) {
        context.drawImage(
          painted.canvas, 0, at * ROW_PX, painted.canvas.width, (end - at) * ROW_PX,
          x, row * ROW_PX - top, tileWidth, (end - at) * ROW_PX,
        );
      }
      at = end;
    }
  }

  /** Where each agent's two lanes begin to differ: a line through both. */
  function drawDifferences(context: CanvasRenderingContext2D, first: number, last: number, top: number): void {
    if (store.other.value === null) return;
    const places = new Map(store.comparison.value?.agents.map((each) => [each.agent ?? "(session)", each]));
    context.fillStyle = c.error;
    for (let row = first; row < last; row++) {
      const found = places.get(store.laneAt(lanes.value[row]!)?.agent ?? "");
      if (found === undefined) continue;
      const u = found.t_a !== null ? axis.value.toU(found.t_a) : found.t_b !== null ? store.otherAxis.value.toU(found.t_b) : null;
      if (u !== null) context.fillRect(xOf(u) - 1, row * ROW_PX - top, 2, ROW_PX);
    }
  }

  function drawCursor(context: CanvasRenderingContext2D, hpx: number): void {
    const x = xOf(axis.value.toU(cursor.value));
    context.fillStyle = c.accent;
    context.fillRect(x - 0.75, 0, 1.5, hpx);
    if (hover !== null) {
      context.fillStyle = c.soft;
      context.globalAlpha = 0.35;
      context.fillRect(hover.x - 0.5, 0, 1, hpx);
      context.globalAlpha = 1;
    }
  }

  function drawArrows(context: CanvasRenderingContext2D, w: number, hpx: number): void {
    if (store.showMessages.value) {
      context.strokeStyle = c.message;
      context.globalAlpha = 0.8;
      context.lineWidth = 1.25;
      for (const each of arrows) arrow(context, each.t0, each.from, each.t1, each.to, w, hpx);
      context.globalAlpha = 1;
    }
    const { edges, nodes } = store.links.value;
    const places = new Map(nodes.map((node) => [node.id, node]));
    // Of what an open event led to, the first of each lane has an arrow, and the others a dot: they may be many.
    const firsts = new Map<number, number>();
    const led = new Set<string>();
    for (const edge of edges) {
      const to = places.get(edge.to);
      if (edge.from !== store.eventId.value || to?.t == null || to.lane === null) continue;
      firsts.set(to.lane, Math.min(to.t, firsts.get(to.lane) ?? Infinity));
      led.add(edge.to);
    }
    const isDot = (node: Node): boolean => led.has(node.id) && node.t! > firsts.get(node.lane!)!;
    for (const edge of edges) {
      const [from, to] = [places.get(edge.from), places.get(edge.to)];
      if (from?.t == null || to?.t == null || from.lane === null || to.lane === null) continue;
      if (edge.from === store.eventId.value && isDot(to)) continue;
      context.strokeStyle = c.accent;
      context.lineWidth = edge.basis === "tested" ? 5 : 1.75;
      context.setLineDash(edge.basis === "inferred" ? [5, 4] : []);
      arrow(context, from.t, from.lane, to.t, to.lane, w, hpx);
      context.setLineDash([]);
      if (edge.basis !== "tested") continue;
      context.strokeStyle = c.page;
      context.lineWidth = 1.75;
      arrow(context, from.t, from.lane, to.t, to.lane, w, hpx);
    }
    context.lineWidth = 2;
    context.strokeStyle = c.accent;
    for (const node of nodes) {
      if (node.t === null || node.lane === null) continue;
      const y = yOf(node.lane);
      if (y === null) continue;
      const x = xOf(axis.value.toU(node.t));
      context.beginPath();
      context.arc(x, y, isDot(node) ? 2.5 : node.id === store.eventId.value ? 6.5 : 4.5, 0, 7);
      context.fillStyle = isDot(node) ? c.accent : c.page;
      context.fill();
      if (!isDot(node)) context.stroke();
    }
  }

  function arrow(
    context: CanvasRenderingContext2D, t0: number, from: number, t1: number, to: number, w: number, hpx: number,
  ): void {
    const [y0, y1] = [yOf(from), yOf(to)];
    if (y0 === null || y1 === null) return;
    const [x0, x1] = [xOf(axis.value.toU(t0)), xOf(axis.value.toU(t1))];
    if ((x0 < -50 && x1 < -50) || (x0 > w + 50 && x1 > w + 50) || (y0 < 0 && y1 < 0) || (y0 > hpx && y1 > hpx)) return;
    if (y0 !== y1 && Math.abs(x1 - x0) < 2 * HEAD_PX) {
      context.beginPath();
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
      context.stroke();
      head(context, x1, y1, Math.atan2(y1 - y0, x1 - x0));
      return;
    }
    // Arcs of one lane are the higher the farther they reach, so that none covers another.
    const bend = y0 === y1 ? -Math.min(30, 8 + (26 * Math.abs(x1 - x0)) / w) : 0;
    const middle = (x0 + x1) / 2;
    context.beginPath();
    context.moveTo(x0, y0);
    context.bezierCurveTo(middle, y0 + bend, middle, y1 + bend, x1, y1);
    context.stroke();
    head(context, x1, y1, Math.atan2(-bend, x1 - middle || 1e-6));
  }

  function head(context: CanvasRenderingContext2D, x: number, y: number, slope: number): void {
    const dashes = context.getLineDash();
    context.setLineDash([]);
    context.beginPath();
    context.moveTo(x - HEAD_PX * Math.cos(slope - 0.45), y - HEAD_PX * Math.sin(slope - 0.45));
    context.lineTo(x, y);
    context.lineTo(x - HEAD_PX * Math.cos(slope + 0.45), y - HEAD_PX * Math.sin(slope + 0.45));
    context.stroke();
    context.setLineDash(dashes);
  }

  function drawMarks(w: number): void {
    const context = fitTo(marks, w, MARKS_PX);
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = c.soft;
    context.textBaseline = "middle";
    const { u0, u1 } = view.value;
    for (const mark of axis.value.marks(u0, u1, w)) {
      const x = xOf(mark.u);
      context.fillRect(x, MARKS_PX - 5, 1, 5);
      if (x + 4 + context.measureText(mark.label).width < w) context.fillText(mark.label, x + 4, MARKS_PX / 2);
    }
    const x = xOf(axis.value.toU(cursor.value));
    context.fillStyle = c.accent;
    context.beginPath();
    context.moveTo(x - 5, MARKS_PX - 8);
    context.lineTo(x + 5, MARKS_PX - 8);
    context.lineTo(x, MARKS_PX);
    context.fill();
  }

  function drawMinimap(): void {
    const w = width();
    const context = fitTo(minimap, w, MINIMAP_PX);
    const { first, last } = axis.value;
    const x = (u: number): number => ((u - first) / (last - first)) * w;
    if (whole?.mode === "bins" && whole.px > 0) {
      const step = w / whole.px;
      for (let n = 0; n < whole.px; n++) {
        const level = whole.bins[n]! & MOST_LEVEL;
        if (level === 0) continue;
        const tall = 2 + (level / MOST_LEVEL) * (MINIMAP_PX - 6);
        context.fillStyle = c.activity;
        context.globalAlpha = 0.7;
        context.fillRect(n * step, MINIMAP_PX - tall, Math.max(1, step), tall);
      }
      context.globalAlpha = 1;
      context.fillStyle = c.error;
      for (let n = 0; n < whole.px; n++) if (whole.bins[n]! & ERROR_BIT) context.fillRect(n * step, 0, 2, 7);
    }
    const { u0, u1 } = view.value;
    context.fillStyle = c.page;
    context.globalAlpha = 0.65;
    context.fillRect(0, 0, x(u0), MINIMAP_PX);
    context.fillRect(x(u1), 0, w - x(u1), MINIMAP_PX);
    context.globalAlpha = 1;
    context.strokeStyle = c.accent;
    context.strokeRect(x(u0) + 0.5, 0.5, Math.max(2, x(u1) - x(u0)) - 1, MINIMAP_PX - 1);
    context.fillStyle = c.accent;
    context.fillRect(x(axis.value.toU(cursor.value)) - 0.75, 0, 1.5, MINIMAP_PX);
  }

  let placed = "";

  function placeLabels(first: number, last: number): void {
    const found = overview.value;
    if (found === null) return;
    const wanted = lanes.value.slice(first, last);
    const key = `${first}:${store.compared.value}:${wanted.join()}:${store.agents.value.join("\u0001")}`;
    if (key === placed) return;
    placed = key;
    const focused = (document.activeElement as HTMLElement | null)?.dataset["lane"];
    labels.replaceChildren(
      ...wanted.map((number, place) => {
        if (number < 0) {
          const { role, lanes: amount, errors } = store.headings.value[-1 - number]!;
          const heading = h(
            "div", { class: "group" }, h("span", { class: "name" }, shown(role || "no role", 60)), h("span", { class: "soft" }, count(amount)),
            errors > 0 && h("span", { class: "errors" }, count(errors)),
          );
          heading.style.top = `${(first + place) * ROW_PX}px`;
          return heading;
        }
        const lane = store.laneAt(number) ?? found.lanes[0]!;
        const isOther = number >= store.OTHER;
        const isChosen = store.agents.value.includes(lane.agent);
        const button = h(
          "button",
          {
            class: isOther ? "label beside" : "label", type: "button", "data-lane": number, "aria-pressed": isChosen ? "true" : "false",
            title: [isOther && named(lane.agent, 200), lane.role, plural(lane.events, "event"), lane.errors ? plural(lane.errors, "error") : "", lane.why]
              .filter(Boolean).map((text) => shown(String(text), 200)).join(", "),
            onclick: (event) => store.choose(lane.agent, event.shiftKey || event.metaKey || event.ctrlKey),
          },
          h("span", { class: "name" }, isOther ? `↳ in ${store.compared.value}` : named(lane.agent, 60)),
          lane.errors > 0 && h("span", { class: "errors" }, count(lane.errors)),
        );
        button.style.top = `${(first + place) * ROW_PX}px`;
        return button;
      }),
    );
    if (focused !== undefined) labels.querySelector<HTMLElement>(`[data-lane="${focused}"]`)?.focus({ preventScroll: true });
  }

  // Pointer

  let drag: { x: number; u0: number; u1: number; moved: boolean } | null = null;

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    drag = { x: event.offsetX, ...view.value, moved: false };
  });
  canvas.addEventListener("pointermove", (event) => {
    hover = { x: event.offsetX, y: event.offsetY };
    if (drag !== null && Math.abs(event.offsetX - drag.x) > 3) {
      drag.moved = true;
      const du = ((event.offsetX - drag.x) / width()) * (drag.u1 - drag.u0);
      view.value = store.clamped({ u0: drag.u0 - du, u1: drag.u1 - du });
    }
    void showTip(event);
    later();
  });
  canvas.addEventListener("pointerup", (event) => {
    const was = drag;
    drag = null;
    if (was !== null && !was.moved) click(event);
  });
  canvas.addEventListener("pointerleave", () => {
    hover = null;
    tip.hidden = true;
    later();
  });
  canvas.addEventListener("dblclick", (event) => store.zoom(0.25, uOf(event.offsetX)));
  canvas.addEventListener(
    "wheel",
    (event) => {
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault();
        store.zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) * 0.01), uOf(event.offsetX));
      } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey) {
        event.preventDefault();
        const du = ((event.deltaX || event.deltaY) / width()) * (view.value.u1 - view.value.u0);
        view.value = store.clamped({ u0: view.value.u0 + du, u1: view.value.u1 + du });
      }
    },
    { passive: false },
  );

  function laneAt(y: number): number | undefined {
    return lanes.value[Math.floor((y + scroller.scrollTop) / ROW_PX)];
  }

  function eventAt(x: number, y: number): { n: number; tile: Painted } | null {
    const lane = laneAt(y);
    if (lane === undefined) return null;
    const tile = lane >= store.OTHER ? beside : painted;
    if (tile === null || tile.data.mode !== "events") return null;
    const position = tile.rows.indexOf(lane);
    const n = nearest(tile, axisOf(lane), position, uOf(x), (view.value.u1 - view.value.u0) / width(), 7);
    return n < 0 ? null : { n, tile };
  }

  const axisOf = (row: number | undefined): typeof axis.value => ((row ?? 0) >= store.OTHER ? store.otherAxis.value : axis.value);
  /** The events of a row's lane at a time, from the session that it belongs to. */
  function eventsAt(row: number, t: number, signal?: AbortSignal): Promise<{ events: Row[] }> {
    const isOther = row >= store.OTHER;
    const query = { lanes: isOther ? row - store.OTHER : row, t0: t, t1: t, limit: 20 };
    return isOther ? ask("events", query, signal, store.compared.value!) : ask("events", query, signal);
  }

  function click(event: PointerEvent): void {
    const lane = laneAt(event.offsetY);
    const agent = lane === undefined ? undefined : store.laneAt(lane)?.agent;
    if (agent !== undefined) store.choose(agent, event.shiftKey);
    const hit = eventAt(event.offsetX, event.offsetY);
    const t = hit ? hit.tile.data.t[hit.n]! : axisOf(lane).toT(uOf(event.offsetX));
    const isOther = (lane ?? 0) >= store.OTHER;
    store.cursor.value = isOther ? axis.value.toT(store.otherAxis.value.toU(t)) : t;
    if (hit && lane !== undefined && !isOther) {
      void eventsAt(lane, t).then((found) => {
        const row = hit.tile.data.row[hit.n]!;
        const id = (found.events.find((each) => each.row === row) ?? found.events[0])?.id;
        if (id !== undefined) void store.open(id);
      });
    }
  }

  async function showTip(event: PointerEvent): Promise<void> {
    const lane = laneAt(event.offsetY);
    const found = lane === undefined ? undefined : store.laneAt(lane);
    if (lane === undefined || found === undefined || drag?.moved) {
      tip.hidden = true;
      return;
    }
    const hit = eventAt(event.offsetX, event.offsetY);
    const t = hit ? hit.tile.data.t[hit.n]! : axisOf(lane).toT(uOf(event.offsetX));
    const tick = store.tickOf(axis.value.toT(axisOf(lane).toU(t)));
    const where = [tick === null ? "" : `tick ${tick}`, duration(t)].filter(Boolean).join(" · ");
    const kinds = lane >= store.OTHER ? store.other.value?.kinds : overview.value?.kinds;
    const kind = hit ? (kinds?.[hit.tile.data.kind[hit.n]!] ?? "") : "";
    tip.replaceChildren(h("b", {}, named(found.agent, 60)), h("span", {}, where), h("span", { class: "what" }, kind));
    tip.hidden = false;
    const box = element.getBoundingClientRect();
    tip.style.left = `${Math.min(event.clientX - box.left + 14, box.width - 260)}px`;
    tip.style.top = `${event.clientY - box.top + 16}px`;
    if (!hit) return;
    const answer = await tips
      .run(async (signal) => {
        await new Promise((done) => setTimeout(done, 120));
        return eventsAt(lane, t, signal);
      })
      .catch(() => undefined);
    const row = hit.tile.data.row[hit.n]!;
    const text = (answer?.events.find((each) => each.row === row) ?? answer?.events[0])?.text;
    if (text !== undefined && !tip.hidden) tip.querySelector(".what")?.replaceChildren(shown(text, 160));
  }

  // The minimap moves the view.
  let holding = false;
  const toMinimap = (event: PointerEvent): void => {
    const { first, last } = axis.value;
    const u = first + (event.offsetX / width()) * (last - first);
    const half = (view.value.u1 - view.value.u0) / 2;
    view.value = store.clamped({ u0: u - half, u1: u + half });
  };
  minimap.addEventListener("pointerdown", (event) => {
    holding = true;
    minimap.setPointerCapture(event.pointerId);
    toMinimap(event);
  });
  minimap.addEventListener("pointermove", (event) => holding && toMinimap(event));
  minimap.addEventListener("pointerup", () => (holding = false));

  // The marks move the cursor.
  let scrubbing = false;
  const scrub = (event: PointerEvent): void => {
    cursor.value = Math.max(0, axis.value.toT(uOf(event.offsetX)));
  };
  marks.addEventListener("pointerdown", (event) => {
    scrubbing = true;
    marks.setPointerCapture(event.pointerId);
    scrub(event);
  });
  marks.addEventListener("pointermove", (event) => scrubbing && scrub(event));
  marks.addEventListener("pointerup", () => (scrubbing = false));

  scroller.addEventListener("scroll", refresh);
  new ResizeObserver(() => {
    painted = beside = null;
    refresh();
    void loadWhole();
  }).observe(scroller);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    c = colours();
    painted = beside = null;
    refresh();
  });

  effect(() => {
    spacer.style.height = `${Math.max(1, lanes.value.length) * ROW_PX}px`;
    empty.hidden = overview.value === null || lanes.value.length > 0;
    empty.textContent = "No lane matches the filter.";
    void lanes.value;
    placed = "";
    refresh();
  });
  effect(() => {
    void store.renumbered.value;
    painted = beside = null;
    refresh();
  });
  effect(() => {
    if (paintedKind !== axis.value.kind) painted = beside = null;
    paintedKind = axis.value.kind;
    void [store.other.value, store.otherAxis.value];
    stale = true;
    if (overview.value !== null) void loadWhole();
    refresh();
  });
  effect(() => {
    void [view.value, cursor.value, store.agents.value, store.links.value, store.eventId.value];
    refresh();
  });
  let messageTimer = 0;
  effect(() => {
    void view.value;
    clearTimeout(messageTimer);
    if (store.showMessages.value && overview.value !== null) messageTimer = setTimeout(() => void loadMessages(), 120);
    else later();
  });

  return {
    element,
    reveal(lane) {
      const row = lanes.value.indexOf(lane);
      if (row < 0) return;
      const [top, bottom] = [row * ROW_PX, (row + 1) * ROW_PX];
      if (top < scroller.scrollTop) scroller.scrollTop = Math.max(0, top - ROW_PX * 2);
      else if (bottom > scroller.scrollTop + height()) scroller.scrollTop = bottom - height() + ROW_PX * 2;
    },
  };
}
