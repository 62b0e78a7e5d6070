// The panes beside the lanes: the moment, the state of the chosen agents, the events around it, and the open event.

import { effect } from "@preact/signals-core";
import {
  answered, ask, type Cause, type Change, type Code, type Counters, type Detail, type Edge, type Field, type Hop, Latest, Newest, type Node,
  type Provenance, type Row, type State,
} from "./api.ts";
import { makeDifferences } from "./compare.ts";
import { forker, makeForkForm } from "./fork.ts";
import { headline, place, sureness } from "./findings.ts";
import { count, duration, plural } from "./axis.ts";
import { held } from "./offline.ts";
import { h, named, refill, shown, type Child } from "./dom.ts";
import * as store from "./store.ts";

const EVENTS_EACH_SIDE = 40;
/** The panes stand below the lanes. */
const NARROW = matchMedia("(max-width: 900px)");

export function makePanes(): HTMLElement {
  const moment = h("div", { class: "moment", "aria-live": "off" });
  const detail = h("section", { class: "pane detail", "aria-label": "Open event", hidden: true });
  const origin = h("section", { class: "pane origin", "aria-label": "Where the value comes from", hidden: true });
  const states = h("section", { class: "pane states", "aria-label": "State" });
  const events = h("section", { class: "pane events", "aria-label": "Events around the cursor" });
  showMoment(moment);
  showDetail(detail);
  showOrigin(origin);
  showStates(states);
  showEvents(events);
  // While two sessions are compared, only what differs is listed.
  effect(() => {
    states.hidden = events.hidden = store.compared.value !== null;
  });
  return h("aside", { class: "panes", "aria-label": "At the cursor" }, moment, makeForkForm(), origin, detail, makeDifferences(), states, events);
}

function when(t: number | null, tick: number | null): string {
  if (t === null) return "";
  return tick === null ? duration(t) : `tick ${tick}`;
}

const tell = (error: Error): void => void (store.notice.value = error.message);

function showMoment(parent: HTMLElement): void {
  const newest = new Newest(tell);
  const sofar = h("div", { class: "sofar" });
  effect(() => {
    const t = store.cursor.value;
    const found = store.overview.value;
    if (found === null) return;
    const tick = store.tickOf(t);
    const place = h("div", { class: "place" }, h("b", {}, tick !== null ? `Tick ${tick}` : t === 0 ? "The start" : `${duration(t)} after the start`));
    if (tick !== null) place.append(h("span", {}, `${duration(t)} after the start`));
    parent.replaceChildren(place, sofar);
    newest.run(async () => {
      const counters = await ask<Counters>("counters", { t });
      sofar.replaceChildren(
        h("span", {}, `${count(counters.events)} of ${plural(found.events, "event")}`),
        h("span", { class: counters.errors ? "bad" : "" }, plural(counters.errors, "error")),
        h("span", {}, plural(counters.messages, "message")),
      );
    });
  });
}

function showStates(parent: HTMLElement): void {
  const newest = new Newest(tell);
  const open = new Set<string>();

  async function load(): Promise<void> {
    const agents = store.agents.value;
    const t = store.cursor.value;
    if (agents.length === 0) {
      parent.replaceChildren(
        h("h2", {}, "State"),
        h("p", { class: "hint" }, "Choose an agent on the left to see its state at the cursor."),
      );
      return;
    }
    const found = await Promise.all(agents.map((agent) => ask<State>("state", { agent, t }).catch((error: Error) => error)));
    if (store.agents.value !== agents) return; // others were chosen meanwhile, and are asked for next
    refill(parent, found.map((state, n) => (state instanceof Error ? failed(agents[n]!, state) : oneState(state))));
  }

  function failed(agent: string, error: Error): HTMLElement {
    return h("div", {}, title(agent), h("p", { class: "hint" }, shown(error.message, 300)));
  }

  function title(agent: string): HTMLElement {
    const number = store.laneOf.value.get(agent);
    const lane = number === undefined ? undefined : store.overview.value?.lanes[number];
    return h(
      "h2", {}, named(agent, 80),
      lane?.role && h("span", { class: "role" }, shown(lane.role, 40)),
      store.agents.value.length > 1 &&
        h("button", { class: "quiet", type: "button", title: "Leave out", "aria-label": `Leave out ${named(agent, 80)}`, onclick: () => store.choose(agent, true) }, "×"),
    );
  }

  function oneState(state: State): HTMLElement {
    const rows = state.fields.map((field) => {
      const changed = field.changed !== null && field.before !== null;
      const isNew = changed && store.tickOf(field.changed!) === store.tickOf(store.cursor.value) && store.tickOf(store.cursor.value) !== null;
      const key = `${state.agent}\u0001${field.name}`;
      const value = h(
        "button",
        {
          class: "value", type: "button", "data-key": key, disabled: field.changed_id === null,
          title: field.changed_id === null ? "" : `Go to where it was set, ${when(field.changed, store.tickOf(field.changed!))}`,
          onclick: () => field.changed_id !== null && void store.open(field.changed_id, held !== null ? {} : { back: { agent: state.agent, field: field.name, at: field.changed_id } }),
        },
        shown(field.value, 300) + (field.is_cut ? " …" : ""),
      );
      const more = h("div", { class: "history" });
      if (open.has(key)) void history(more, state.agent, field);
      const name = h(
        "button",
        {
          class: "field", type: "button", "data-key": `${key}\u0001`, "aria-expanded": open.has(key) ? "true" : "false",
          title: "Earlier values",
          onclick: () => {
            if (open.delete(key)) more.replaceChildren();
            else {
              open.add(key);
              void history(more, state.agent, field);
            }
            name.setAttribute("aria-expanded", String(open.has(key)));
          },
        },
        shown(field.name, 80),
      );
      return h("div", { class: isNew ? "row changed" : "row" }, name, h("div", {}, value, changed && isNew && h("span", { class: "before" }, `was ${shown(field.before!, 80)}`)), more);
    });
    const when_ = state.tick === null ? "" : `as of tick ${state.tick}`;
    return h(
      "div", { class: "state" }, title(state.agent), forker(state.agent), h("p", { class: "hint" }, when_),
      rows.length > 0 ? h("div", { class: "fields" }, ...rows) : h("p", { class: "hint" }, "No field was recorded up to here."),
      state.handles.length > 0 && h("p", { class: "hint handles" }, `Without a value: ${shown(state.handles.join(", "), 200)}`),
    );
  }

  async function history(into: HTMLElement, agent: string, of: Field): Promise<void> {
    const field = of.name;
    try {
      const [{ changes }, { points }] = await Promise.all([
        ask<{ changes: Change[] }>("why", { agent, field, t: store.cursor.value }),
        ask<{ points: [number, number][] }>("series", { agent, field }),
      ]);
      const list = changes.slice(0, 8).map((change) =>
        h("li", {}, h("button", { class: "link", type: "button", onclick: () => void store.open(change.id) }, when(change.t, change.tick)),
          ` ${shown(change.action ?? "", 60)} `, h("code", {}, [change.before, change.after].filter((each) => each !== null).map((each) => shown(each!, 60)).join(" → "))),
      );
      into.replaceChildren(
        ...(of.value.length > 40 ? [h("pre", { tabindex: 0, "aria-label": `Value of ${shown(field, 80)}` }, shown(of.value, 2000) + (of.is_cut ? " …" : ""))] : []),
        ...(points.length > 1 ? [plot(points)] : []),
        list.length > 0 ? h("ul", {}, ...list) : h("p", { class: "hint" }, "No change was recorded up to here."),
      );
    } catch (error) {
      into.replaceChildren(h("p", { class: "hint" }, shown((error as Error).message, 200)));
    }
  }

  effect(() => {
    void [store.agents.value, store.cursor.value, store.overview.value];
    if (store.overview.value !== null) newest.run(load);
  });
}

/** A small step curve of a numeric field over the whole session, with the cursor. */
function plot(points: readonly [number, number][]): HTMLElement {
  const canvas = h("canvas", { class: "curve", role: "img", "aria-label": `${points.length} values` });
  requestAnimationFrame(() => {
    const [w, hpx, ratio] = [canvas.clientWidth, canvas.clientHeight, devicePixelRatio || 1];
    canvas.width = w * ratio;
    canvas.height = hpx * ratio;
    const context = canvas.getContext("2d")!;
    context.scale(ratio, ratio);
    const { axis } = store;
    const values = points.map(([, value]) => value);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const x = (t: number): number => ((axis.value.toU(t) - axis.value.first) / (axis.value.last - axis.value.first)) * w;
    const y = (value: number): number => hpx - 3 - ((value - low) / (high - low || 1)) * (hpx - 6);
    const style = getComputedStyle(canvas);
    context.strokeStyle = style.getPropertyValue("--activity");
    context.lineWidth = 1.5;
    context.beginPath();
    points.forEach(([t, value], n) => {
      if (n === 0) context.moveTo(x(t), y(value));
      else {
        context.lineTo(x(t), y(points[n - 1]![1]));
        context.lineTo(x(t), y(value));
      }
    });
    context.lineTo(w, y(values[values.length - 1]!));
    context.stroke();
    context.fillStyle = style.getPropertyValue("--accent");
    context.fillRect(x(store.cursor.value) - 0.5, 0, 1, hpx);
  });
  return canvas;
}

function showEvents(parent: HTMLElement): void {
  const newest = new Newest(tell);
  const heading = h("h2", {}, "Events");
  const list = h("ol", { class: "rows" });
  const words = h("input", { type: "search", placeholder: "contains …", "aria-label": "Only events that contain" });
  const only = h("input", { type: "checkbox" });
  parent.append(h("div", { class: "head" }, heading, words, h("label", {}, only, "errors")), list);

  async function load(): Promise<void> {
    const t = store.cursor.value;
    const query = {
      lanes: store.selectedLanes.value.join(",") || undefined,
      q: words.value.trim() || undefined,
      errors: only.checked ? 1 : undefined,
      limit: EVENTS_EACH_SIDE,
    };
    const found = await Promise.all([
      ask<{ events: Row[] }>("events", { ...query, t1: t, order: "desc" }),
      ask<{ events: Row[] }>("events", { ...query, t0: t, order: "asc" }),
    ]);
    const [before, after] = [found[0].events.toReversed(), found[1].events];
    const seen = new Set(before.map((each) => each.row));
    const rows = [...before, ...after.filter((each) => !seen.has(each.row))];
    heading.textContent = store.agents.value.length === 1 ? `Events of ${named(store.agents.value[0]!, 40)}` : "Events";
    if (rows.length === 0) {
      list.replaceChildren(h("li", { class: "hint" }, "No event matches."));
      return;
    }
    let at = before.length - 1;
    const items = rows.map((row, n) => {
      const isOpen = row.id === store.eventId.value;
      if (isOpen) at = n;
      return h(
        "li", { class: ["ERROR", "CRITICAL"].includes(row.level) ? "error" : row.level === "WARNING" ? "warning" : "" },
        h(
          "button",
          { type: "button", "data-key": row.id, "aria-current": isOpen ? "true" : undefined, class: row.t > t ? "later" : "", onclick: () => void store.open(row.id) },
          h("span", { class: "at" }, row.tick === null ? duration(row.t) : String(row.tick)),
          store.agents.value.length !== 1 && h("span", { class: "who" }, named(row.agent, 30)),
          h("span", { class: "text" }, shown(row.text, 220)),
        ),
      );
    });
    refill(list, items);
    const current = items[Math.max(0, at)];
    if (current) list.scrollTop = current.offsetTop - list.clientHeight / 2 + current.clientHeight / 2;
  }

  const soon = (): void => newest.run(load);
  words.addEventListener("input", soon);
  only.addEventListener("change", soon);
  effect(() => {
    void [store.cursor.value, store.selectedLanes.value, store.eventId.value];
    if (store.overview.value !== null) soon();
  });
}

function showDetail(parent: HTMLElement): void {
  let last: string | Cause | null = null;
  effect(() => {
    const [event, cause] = [store.detail.value, store.finding.value];
    parent.hidden = event === null && cause === null;
    const opened = store.eventId.value ?? cause;
    const unfolded = opened === last && parent.querySelector("details")?.open === true;
    if (event !== null) refill(parent, describe(event));
    else if (cause !== null) refill(parent, explain(cause));
    if (unfolded) parent.querySelector("details")!.open = true;
    if (opened !== last && opened !== null) {
      if (NARROW.matches) parent.parentElement?.scrollIntoView({ block: "start" });
      else parent.parentElement?.scrollTo(0, 0);
    }
    last = opened;
  });
}

/** The way of a value back through the events that it came by, each of which opens. */
function showOrigin(parent: HTMLElement): void {
  const latest = new Latest();
  effect(() => {
    const back = store.origin.value;
    parent.hidden = back === null;
    store.way.value = null;
    if (back === null) return parent.replaceChildren();
    const name = `${back.agent}.${back.field}`;
    const title = h("div", { class: "head" }, h("h2", { class: "headline" }, `Where ${shown(name, 100)} comes from`), closer("Close"));
    parent.replaceChildren(title, h("p", { class: "hint", role: "status" }, "Following the value back …"));
    void latest.run((signal) => answered<Provenance>("provenance", { ...back }, signal)).then((found) => {
      if (found === undefined || store.origin.value !== back) return;
      const hops = found.hops.map((hop) => hopLine(hop, back));
      parent.replaceChildren(
        title, h("ol", { class: "causes" }, ...hops), h("p", { class: "hint" }, `It ends here: ${shown(found.end, 300)}.`),
        ...(found.inputs.length > 0 ? [h("h3", {}, "What the action had at hand"), h("ul", { class: "evidence" }, ...found.inputs.map((each) =>
          h("li", { class: "wide" }, h("span", { class: "label-word" }, shown(each.path, 60)), h("code", {}, shown(each.value, 80)))))] : []),
      );
      const edges = found.hops.slice(1).map((hop, n): Edge => ({
        from: hop.id, to: found.hops[n]!.id, basis: hop.rule === "recorded" ? "recorded" : "inferred", rule: hop.rule, reason: hop.value,
      })).filter((edge) => edge.from !== edge.to); // a value and the argument that changed it are of one event
      store.way.value = { edges, nodes: found.hops };
    }).catch((error: Error) => parent.replaceChildren(title, h("p", { class: "hint" }, shown(error.message, 300))));
  });
}

function hopLine(hop: Hop, back: store.Origin): HTMLElement {
  const path = hop.from === null || hop.from === hop.path ? hop.path : `${hop.path} from ${hop.from}`;
  return h(
    "li", { class: hop.rule === "recorded" ? "recorded" : "inferred" },
    h("button", { class: "link", type: "button", "data-key": `hop ${hop.id} ${hop.path}`, onclick: () => void store.open(hop.id, { back }) }, when(hop.t, hop.tick) || "open"),
    h("span", { class: "who" }, shown(hop.agent ?? "", 40)),
    h("span", { class: "text" }, `${shown(hop.action, 60)}${path ? `, ${shown(path, 100)}` : ""} = `, h("code", {}, shown(hop.value, 120))),
    h("span", { class: "basis" }, hop.rule === "recorded" ? "recorded" : `inferred: ${hop.rule}`),
  );
}

/** A finding: what it says, what speaks for it, and its events in the order of time. */
function explain(cause: Cause): Element[] {
  const tests = cause.edges.filter((edge) => edge.test).map((edge) => `tested: ${edge.test}`);
  const lines = [...tests, cause.sentence, ...cause.lines].filter((line) => line && !line.endsWith(cause.title));
  const steps = cause.events.filter((node) => node.t !== null).toSorted((a, b) => a.t! - b.t!);
  return [
    h("div", { class: "head" }, h("span", { class: "where" }, place(cause)), sureness(cause), closer("Close the finding")),
    h("h2", { class: "headline" }, shown(headline(cause), 400)),
    ...(lines.length > 0 ? [h("ul", { class: "evidence" }, ...lines.map(evidence))] : []),
    h("h3", {}, "Events, in order"),
    h("ol", { class: "causes" }, ...steps.map((node) => step(node, cause.edges.find((edge) => edge.from === node.id || edge.to === node.id)))),
  ];
}

const EVENT_ID = /\b([a-z2-7]{8}-[0-9]+)\b/;

/** A line such as `also: …`, with its first word as a label, and the ids of events as links. */
function evidence(line: string): HTMLElement {
  const [, label, rest] = /^([a-z]{2,9}): (.*)$/s.exec(line) ?? [null, "", line];
  const parts = shown(rest!, 300).split(EVENT_ID);
  const linked = parts.map((part, n) => (n % 2 === 0 ? part : h("button", { class: "link", type: "button", onclick: () => void store.open(part) }, part)));
  return h("li", {}, h("span", { class: "label-word" }, label), h("span", {}, ...linked));
}

function step(node: Node, edge: Edge | undefined): HTMLElement {
  return h(
    "li", { class: edge?.basis ?? "" },
    h("button", { class: "link", type: "button", "data-key": node.id, onclick: () => void store.open(node.id) }, when(node.t, node.tick) || "open"),
    node.agent !== null && h("span", { class: "who" }, named(node.agent, 40)),
    h("span", { class: "text" }, shown(node.text, 200)),
    edge && h("span", { class: "basis", title: shown(edge.reason, 300) }, `${edge.basis}: ${edge.rule.replaceAll("_", " ")}`),
  );
}

function closer(label: string): HTMLElement {
  return h("button", { class: "quiet close", type: "button", title: `${label} (Esc)`, "aria-label": label, onclick: () => store.close() }, "×");
}

/** Where the code of an event is; what the server made a link of opens it in the editor, all else is text. */
function codeOf(code: Code | null): Element | null {
  if (code === null) return null;
  const place = shown(code.place, 400);
  const title = `Open in the editor${code.is_newer ? "; the file was changed after the recording, so the line may be another" : ""}`;
  return h(
    "p", { class: "code" },
    code.link === undefined ? h("span", {}, place) : h("a", { href: code.link, title, "data-key": `code ${code.link}` }, place),
    code.is_newer === true && h("span", { class: "soft" }, "changed since"),
    h("span", { class: "soft" }, shown(code.function, 200)),
  );
}

function describe(found: Detail & { isPending: boolean }): Element[] {
  const nodes = (heading: string, list: readonly Node[], ends: "from" | "to"): Child => {
    if (list.length === 0) return null;
    const items = list.slice(0, 12).map((node) => step(node, found.edges.find((each) => each[ends] === node.id)));
    return h("div", {}, h("h3", {}, heading), h("ol", { class: "causes" }, ...items));
  };
  const id = String(found.event["id"] ?? "");
  const tick = typeof found.event["tick"] === "number" ? found.event["tick"] : null;
  return [
    h(
      "div", { class: "head" }, h("h2", {}, when(found.t, tick)),
      h("span", { class: "id" }, id),
      closer("Close the event"),
    ),
    h("p", { class: "said" }, shown(found.text, 600)),
    codeOf(found.code),
    found.isPending ? h("p", { class: "hint", role: "status" }, "Looking for causes …") : null,
    !found.isPending && found.causes.length + found.effects.length === 0 ? h("p", { class: "hint" }, held === null ? "Nothing is known of what led to it." : "The causes of this event are not in this page.") : null,
    nodes("What led to it", found.causes, "from"),
    nodes("What it led to", found.effects, "to"),
    h("details", {}, h("summary", {}, "The whole event"), h("pre", {}, shown(JSON.stringify(found.event, null, 1), 20_000))),
  ].filter((each): each is HTMLElement => each instanceof HTMLElement);
}
