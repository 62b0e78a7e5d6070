// The head of the page, the transport below the lanes, and the keys.

import { effect } from "@preact/signals-core";
import { ask, home, Latest, page, type Place, reportNames, type Row } from "./api.ts";
import { count, plural } from "./axis.ts";
import { makeComparer } from "./compare.ts";
import { h, named, shown } from "./dom.ts";
import * as store from "./store.ts";

export function makeHead(): HTMLElement {
  const name = h("span", { class: "session" });
  const search = h("input", { type: "search", class: "search", placeholder: "Search agents and events   /", "aria-label": "Search agents and events" });
  const hits = h("div", { class: "hits", hidden: true });
  const reports = h("nav", { "aria-label": "Reports" });
  for (const section of reportNames) {
    reports.append(h("a", { href: `${page}/report/${section}` }, section[0]!.toUpperCase() + section.slice(1)));
  }
  effect(() => {
    const found = store.overview.value;
    if (found === null) return;
    name.replaceChildren(h("b", {}, shown(found.session_id, 60)), found.program ? ` ${shown(found.program, 80)}` : "");
    document.title = `${found.session_id} – Agent Trace`;
  });

  const latest = new Latest();
  let timer = 0;
  async function look(): Promise<void> {
    const q = search.value.trim();
    if (!q) {
      hits.hidden = true;
      return;
    }
    const found = await latest.run((signal) => ask<{ agents: number[]; events: Row[] }>("search", { q }, signal));
    if (found === undefined) return;
    const agents = found.agents.slice(0, 8).map((lane) => {
      const each = store.overview.value!.lanes[lane]!;
      return h("button", { type: "button", onclick: () => done(() => store.choose(each.agent)) }, h("b", {}, named(each.agent, 60)), h("span", { class: "text" }, plural(each.events, "event")));
    });
    const events = found.events.slice(0, 20).map((row) =>
      h("button", { type: "button", onclick: () => done(() => void store.open(row.id)) }, h("span", { class: "at" }, row.tick === null ? "" : `tick ${row.tick}`), h("span", { class: "who" }, named(row.agent, 30)), h("span", { class: "text" }, shown(row.text, 120))),
    );
    hits.replaceChildren(...agents, ...events);
    if (agents.length + events.length === 0) hits.append(h("p", { class: "hint" }, "Nothing found."));
    hits.hidden = false;
  }
  function done(then: () => void): void {
    hits.hidden = true;
    then();
  }
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => void look().catch((error: Error) => (store.notice.value = error.message)), 150);
  });
  search.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      hits.hidden = true;
      search.blur();
    } else if (event.key === "Enter" || event.key === "ArrowDown") {
      hits.querySelector<HTMLElement>("button")?.focus();
      event.preventDefault();
    }
  });
  hits.addEventListener("keydown", (event) => {
    const step = event.key === "ArrowDown" ? "nextElementSibling" : event.key === "ArrowUp" ? "previousElementSibling" : null;
    if (step !== null) {
      ((document.activeElement?.[step] as HTMLElement | null) ?? search).focus();
      event.preventDefault();
    } else if (event.key === "Escape") {
      hits.hidden = true;
      search.focus();
    }
  });
  document.addEventListener("pointerdown", (event) => {
    if (!hits.contains(event.target as globalThis.Node) && event.target !== search) hits.hidden = true;
  });
  return h(
    "header", {}, h("a", { class: "brand", href: `${home}/sessions` }, "Agent Trace"), name,
    h("div", { class: "finder" }, search, hits), makeComparer(), reports,
    h("button", { class: "quiet", type: "button", title: "Keys (?)", "aria-label": "Keys", onclick: () => help.showModal() }, "?"),
  );
}

const KEYS: readonly (readonly [string, string])[] = [
  ["← →", "previous, next event of the chosen agents"],
  ["Shift ← →", "previous, next tick"],
  ["[ ]", "previous, next error"],
  ["↑ ↓", "previous, next lane"],
  ["Space", "play, pause"],
  ["+ − 0", "zoom in, out, whole session"],
  ["Enter", "open the event at the cursor"],
  ["Esc", "close the event"],
  ["/", "search"],
  ["m", "messages on, off"],
  ["i", "only the lanes of the open event or finding, all"],
  ["n", "now: the end of the session, which is followed while it runs"],
  ["Backspace", "back to the event before"],
];

const help = h(
  "dialog", { class: "help", "aria-label": "Keys" }, h("h2", {}, "Keys"),
  h("dl", {}, ...KEYS.flatMap(([keys, text]) => [h("dt", {}, keys), h("dd", {}, text)])),
  h("form", { method: "dialog" }, h("button", {}, "Close")),
);

function toggle(text: string, title: string, read: () => boolean, flip: () => void): HTMLElement {
  const button = h("button", { type: "button", title, onclick: flip }, text);
  effect(() => button.setAttribute("aria-pressed", String(read())));
  return button;
}

export function makeTransport(): HTMLElement {
  const play = h("button", { class: "play", type: "button", onclick: () => (store.playing.value = !store.playing.value) });
  effect(() => {
    play.textContent = store.playing.value ? "❚❚" : "▶";
    play.setAttribute("aria-label", store.playing.value ? "Pause" : "Play");
  });
  const speed = h("select", { "aria-label": "Speed" }, ...[0.5, 1, 2, 5, 20].map((each) => h("option", { value: each, selected: each === 1 }, `${each}×`)));
  speed.addEventListener("change", () => (store.speed.value = Number(speed.value)));
  const by = (text: string, title: string, what: By, direction: 1 | -1): HTMLElement =>
    h("button", { type: "button", title, "aria-label": title, onclick: () => void step(what, direction) }, text);
  const axis = toggle("Ticks", "Show ticks instead of time", () => store.axisKind.value === "tick", () => store.useAxis(store.axisKind.value === "tick" ? "time" : "tick"));
  effect(() => {
    axis.hidden = (store.overview.value?.ticks.length ?? 0) === 0 || store.other.value?.ticks.length === 0;
  });
  const newer = h("button", { class: "newer", type: "button", hidden: true, title: "Show the end of the session, and follow it (n)", onclick: () => store.toNow() });
  effect(() => {
    const found = store.waiting.value;
    newer.hidden = found === null;
    if (found !== null) newer.textContent = found.events > store.overview.value!.events ? `${count(found.events - store.overview.value!.events)} new` : "ended";
  });
  return h(
    "div", { class: "transport", role: "toolbar", "aria-label": "Move through the session" },
    toggle("Errors", "Only lanes with errors", () => store.onlyErrors.value, () => (store.onlyErrors.value = !store.onlyErrors.value)),
    toggle("Involved", "Only lanes of the open event or finding (i)", () => store.onlyInvolved.value, () => (store.onlyInvolved.value = !store.onlyInvolved.value)),
    toggle("By role", "Group lanes by role", () => store.order.value === "role", () => (store.order.value = store.order.value === "role" ? "trouble" : "role")),
    toggle("Messages", "Show messages (m)", () => store.showMessages.value, () => (store.showMessages.value = !store.showMessages.value)),
    axis,
    h("span", { class: "gap" }),
    newer, by("⇤!", "Previous error ([)", "error", -1), by("‹‹", "Previous tick (Shift ←)", "tick", -1), by("‹", "Previous event (←)", "event", -1),
    play, by("›", "Next event (→)", "event", 1), by("››", "Next tick (Shift →)", "tick", 1), by("!⇥", "Next error (])", "error", 1),
    speed,
  );
}

/** The corner above the labels: which lanes are shown, and how much of the time. */
export function makeCorner(): HTMLElement {
  const lanesFilter = h("input", { type: "search", placeholder: "Filter lanes", "aria-label": "Filter lanes" });
  lanesFilter.addEventListener("input", () => (store.filter.value = lanesFilter.value));
  effect(() => {
    if (lanesFilter.value !== store.filter.value) lanesFilter.value = store.filter.value;
  });
  const zoom = (text: string, label: string, act: () => void): HTMLElement =>
    h("button", { class: "quiet", type: "button", "aria-label": label, title: label, onclick: act }, text);
  return h(
    "div", { class: "corner" }, lanesFilter,
    h("div", { class: "zooms" }, zoom("−", "Zoom out (−)", () => store.zoom(2)), zoom("+", "Zoom in (+)", () => store.zoom(0.5)), zoom("Fit", "Fit the whole session (0)", () => store.fit())),
  );
}

type By = "event" | "tick" | "error";
const stepping = new Latest();

export async function step(by: By, direction: 1 | -1): Promise<void> {
  const lanes = by === "event" ? store.selectedLanes.value.join(",") : by === "error" && store.agents.value.length > 1 ? store.selectedLanes.value.join(",") : "";
  try {
    const found = await stepping.run((signal) => ask<Place>("step", { t: store.cursor.value, by, direction, lanes: lanes || undefined }, signal));
    if (found === undefined) return;
    if (found.t === null) {
      store.notice.value = direction > 0 ? `No later ${by}.` : `No earlier ${by}.`;
      return;
    }
    if (by === "error" && found.id !== undefined) await store.open(found.id);
    else store.moveTo(found.t);
  } catch (error) {
    store.notice.value = (error as Error).message;
  }
}

async function openAtCursor(): Promise<void> {
  const { events } = await ask<{ events: Row[] }>("events", { lanes: store.selectedLanes.value.join(",") || undefined, t1: store.cursor.value, order: "desc", limit: 1 });
  if (events[0] !== undefined) await store.open(events[0].id);
}

export function listenToKeys(reveal: (lane: number) => void): void {
  document.body.append(help);
  document.addEventListener("keydown", (event) => {
    const target = event.target as HTMLElement;
    if (help.open || target.matches("input, select, textarea")) return;
    if (event.metaKey || event.ctrlKey || event.altKey) return;
    const onButton = target.matches("button, a, summary");
    const act: Record<string, () => void> = {
      ArrowLeft: () => void step(event.shiftKey ? "tick" : "event", -1),
      ArrowRight: () => void step(event.shiftKey ? "tick" : "event", 1),
      ArrowUp: () => nextLane(-1, reveal),
      ArrowDown: () => nextLane(1, reveal),
      "[": () => void step("error", -1),
      "]": () => void step("error", 1),
      "+": () => store.zoom(0.5),
      "=": () => store.zoom(0.5),
      "-": () => store.zoom(2),
      "0": () => store.fit(),
      "/": () => document.querySelector<HTMLElement>(".search")?.focus(),
      "?": () => help.showModal(),
      m: () => (store.showMessages.value = !store.showMessages.value),
      i: () => (store.onlyInvolved.value = !store.onlyInvolved.value),
      n: () => store.toNow(),
      End: () => store.toNow(),
      Escape: () => store.close(),
      Backspace: () => history.back(),
    };
    if (!onButton) {
      act[" "] = () => (store.playing.value = !store.playing.value);
      act["Enter"] = () => void openAtCursor();
    }
    const found = act[event.key];
    if (found === undefined) return;
    event.preventDefault();
    found();
  });
}

function nextLane(direction: 1 | -1, reveal: (lane: number) => void): void {
  const order = store.lanes.value.filter((lane) => lane >= 0 && lane < store.OTHER);
  const last = store.selectedLanes.value.at(-1);
  const at = last === undefined ? (direction > 0 ? -1 : order.length) : order.indexOf(last);
  const lane = order[Math.min(Math.max(at + direction, 0), order.length - 1)];
  const agent = lane === undefined ? undefined : store.laneAt(lane)?.agent;
  if (agent === undefined) return;
  store.choose(agent);
  reveal(lane!);
}

/** Move the cursor while playing: one tick a second at speed 1, or a sixtieth of the session without ticks. */
export function play(): void {
  let before = 0;
  const frame = (now: number): void => {
    if (!store.playing.value) return;
    const passed = Math.min(0.1, (now - before) / 1000);
    before = now;
    const { axis } = store;
    const each = axis.value.kind === "tick" ? 1 : (axis.value.last - axis.value.first) / 60;
    const u = axis.value.toU(store.cursor.value) + passed * store.speed.value * each;
    if (u >= axis.value.last) store.playing.value = false;
    store.moveTo(axis.value.toT(Math.min(u, axis.value.last)));
    requestAnimationFrame(frame);
  };
  effect(() => {
    if (!store.playing.value) return;
    before = performance.now();
    requestAnimationFrame(frame);
  });
}
