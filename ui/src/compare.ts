// A second session over the first: which one, the first difference with both values, and what differs below it.

import { batch, effect } from "@preact/signals-core";
import {
  answered, ask, type Comparison, type Difference, type Differences, Latest, Newest, type Overview, page, session,
  type SessionRow, type State,
} from "./api.ts";
import { plural } from "./axis.ts";
import { h, named, refill, shown } from "./dom.ts";
import * as store from "./store.ts";

const MOST_SESSIONS = 60;

/** The button of the head, and the sessions that it offers: forks of this one, then the newest. */
export function makeComparer(): HTMLElement {
  const list = h("div", { class: "hits", hidden: true });
  const button = h("button", { class: "quiet", type: "button", "aria-expanded": "false", onclick: () => void toggle() }, "Compare");

  async function toggle(): Promise<void> {
    set(list.hidden !== false);
    if (list.hidden !== false) return;
    try {
      const { sessions } = await ask<{ sessions: SessionRow[] }>("sessions", {}, undefined, "");
      const others = sessions.filter(({ id }) => id !== store.overview.value?.session_id);
      const isRelated = (row: SessionRow): boolean => row.fork_of?.session === store.overview.value?.session_id;
      others.sort((a, b) => Number(isRelated(b)) - Number(isRelated(a)));
      list.replaceChildren(...others.slice(0, MOST_SESSIONS).map(choice));
      if (others.length === 0) list.append(h("p", { class: "hint" }, "There is no other session in this trace root."));
    } catch (error) {
      store.notice.value = (error as Error).message;
    }
  }

  function choice(row: SessionRow): HTMLElement {
    const of = row.fork_of;
    const what = of === null ? "" : of.session === store.overview.value?.session_id ? `fork of this session at ${of.step}` : `fork of ${of.session}`;
    return h(
      "button", { type: "button", onclick: () => (set(false), store.compareWith(row.id)) },
      h("b", {}, shown(row.id, 60)), h("span", { class: "text" }, shown(what || (row.is_running ? "running" : ""), 80)),
    );
  }

  function set(isOpen: boolean): void {
    list.hidden = !isOpen;
    button.setAttribute("aria-expanded", String(isOpen));
  }
  document.addEventListener("pointerdown", (event) => {
    if (!list.contains(event.target as globalThis.Node) && event.target !== button) set(false);
  });
  list.addEventListener("keydown", (event) => {
    const step = event.key === "ArrowDown" ? "nextElementSibling" : event.key === "ArrowUp" ? "previousElementSibling" : null;
    if (step !== null) (document.activeElement?.[step] as HTMLElement | null)?.focus();
    else if (event.key === "Escape") {
      set(false);
      button.focus();
    } else return;
    event.preventDefault();
  });
  return h("div", { class: "comparer" }, button, list);
}

/** What stands in place of the findings while two sessions are compared. */
export function makeComparison(): HTMLElement {
  const heading = h("h2", {});
  const only = h("button", { type: "button", onclick: () => (store.onlyDifferent.value = !store.onlyDifferent.value) }, "Only what differs");
  const end = h("button", { class: "quiet close", type: "button", "aria-label": "End the comparison", title: "End the comparison", onclick: () => store.compareWith(null) }, "×");
  const body = h("div", { class: "difference" });
  const element = h("section", { class: "comparison", "aria-label": "Comparison", hidden: true }, h("div", { class: "head" }, heading, only, end), body);
  const latest = new Latest();

  effect(() => {
    const id = store.compared.value;
    element.hidden = id === null;
    if (id !== null && store.overview.value?.state === "ready" && store.comparison.peek() === null) void load(id);
  });
  effect(() => only.setAttribute("aria-pressed", String(store.onlyDifferent.value)));

  async function load(id: string): Promise<void> {
    body.replaceChildren(h("p", { class: "hint", role: "status" }, "Comparing the two sessions …"));
    try {
      const found = await latest.run(async (signal) => ({
        other: await answered<Overview>("overview", {}, signal, id),
        comparison: await answered<Comparison>("compare", { other: id }, signal),
      }));
      if (found === undefined || store.compared.value !== id) return;
      const isAddressed = store.given.has("t") && store.isFirst;
      batch(() => {
        // Ticks compare only with ticks.
        if (found.other.ticks.length === 0) store.useAxis("time");
        store.other.value = found.other;
        store.comparison.value = found.comparison;
        if (found.comparison.first !== null && !isAddressed) store.openPair(found.comparison.first);
      });
    } catch (error) {
      body.replaceChildren(h("p", { class: "bad" }, shown((error as Error).message, 400)));
    }
  }

  effect(() => {
    const [found, id] = [store.comparison.value, store.compared.value];
    heading.replaceChildren("Compared with ", id === null ? "" : h("a", { href: page.replace(encodeURIComponent(session), encodeURIComponent(id)) }, shown(id, 60)));
    if (found === null) return;
    const { first } = found;
    if (first === null) {
      body.replaceChildren(h("p", { class: "good" }, found.differ || found.compared + found.states > 0 ? "They are alike in everything that could be compared." : "They have no comparable events or states."), notes(found));
      return;
    }
    body.replaceChildren(
      h("button", { class: "card first", type: "button", onclick: () => store.openPair(first) },
        h("span", { class: "where" }, `First difference: ${place(first)}`),
        h("span", { class: "title" }, shown(first.where, 200))),
      sides(first), notes(found),
    );
  });
  return element;
}

function place(found: Difference): string {
  return [found.agent, found.tick === null ? "" : `tick ${found.tick}`, found.what].filter(Boolean).map((each) => shown(String(each), 60)).join(" · ");
}

/** Both values, one under the other, so that a reader's eye finds what differs. */
function sides(found: Difference): HTMLElement {
  return h(
    "dl", { class: "sides" },
    h("dt", {}, "here"), h("dd", {}, h("code", {}, shown(found.a, 300))),
    h("dt", {}, "there"), h("dd", {}, h("code", {}, shown(found.b, 300))),
  );
}

function notes(found: Comparison): HTMLElement {
  const told = [`${plural(found.compared, "pair")} of events and ${plural(found.states, "pair")} of states agree${found.first ? " before that" : ""}.`, ...store.forkText.value, ...found.notes];
  return h("ul", { class: "notes", tabindex: "0" }, ...told.map((each) => h("li", {}, shown(each, 300))));
}

/** The pane of a comparison: the agents that differ, and for the chosen one every event and field that does. */
export function makeDifferences(): HTMLElement {
  const agents = h("div", { class: "differing" });
  const pairs = h("ol", { class: "rows pairs" });
  const heading = h("h2", {}, "Events that differ");
  const state = h("div", { class: "fields" });
  const element = h(
    "section", { class: "pane differences", "aria-label": "What differs", hidden: true },
    agents, h("h2", {}, "State at the cursor, where it differs"), state, heading, pairs,
  );
  const fail = (error: Error): void => void (store.notice.value = error.message);
  const [newest, latest] = [new Newest(fail), new Latest()];

  effect(() => {
    element.hidden = store.comparison.value === null;
    const listed = store.comparison.value?.agents ?? [];
    agents.hidden = listed.length < 2;
    refill(agents, [
      h("h2", {}, `${plural(listed.length, "agent differs", "agents differ")}`),
      h("ol", { class: "rows" }, ...listed.slice(0, 200).map((each, n) => line(each, `agent${n}`, each.agent ?? "(session)"))),
    ]);
  });

  effect(() => {
    const [id, agent] = [store.compared.value, store.agents.value.at(-1)];
    if (store.comparison.value === null || id === null) return;
    heading.textContent = agent === undefined ? "Events that differ" : `Events of ${named(agent, 40)} that differ`;
    if (agent === undefined) return pairs.replaceChildren(h("li", { class: "hint" }, "Choose an agent on the left."));
    pairs.replaceChildren(h("li", { class: "hint" }, h("span", { role: "status" }, "Comparing its events …")));
    void latest.run((signal) => answered<Differences>("compare", { other: id, agent }, signal)).then((found) => {
      if (found === undefined) return;
      refill(pairs, found.pairs.map((each, n) => line(each, `pair${n}`)));
      if (found.pairs.length === 0) pairs.append(h("li", { class: "hint" }, "None: its events agree."));
      if (found.more) pairs.append(h("li", { class: "hint" }, `The first ${found.pairs.length} are shown.`));
    }).catch(fail);
  });

  effect(() => {
    void [store.agents.value, store.cursor.value, store.otherCursor.value];
    if (store.comparison.value !== null) newest.run(loadState);
  });

  async function loadState(): Promise<void> {
    const [agent, id] = [store.agents.value.at(-1), store.compared.value];
    if (agent === undefined || id === null) return state.replaceChildren(h("p", { class: "hint" }, "Choose an agent on the left."));
    const none = (): State => ({ agent, t: 0, tick: null, fields: [], handles: [] });
    const [a, b] = await Promise.all([
      ask<State>("state", { agent, t: store.cursor.value }).catch(none),
      ask<State>("state", { agent, t: store.otherCursor.value }, undefined, id).catch(none),
    ]);
    const beside = new Map(b.fields.map((field) => [field.name, field]));
    const names = [...new Set([...a.fields, ...b.fields].map(({ name }) => name))];
    const own = new Map(a.fields.map((field) => [field.name, field]));
    const rows = names.filter((name) => own.get(name)?.value !== beside.get(name)?.value).map((name) => {
      const [one, two] = [own.get(name), beside.get(name)];
      const text = (field: typeof one): string => (field === undefined ? "no value" : shown(field.value, 120) + (field.is_cut ? " …" : ""));
      return h(
        "div", { class: "row" }, h("span", { class: "field" }, shown(name, 80)),
        h("div", {}, h("code", { class: "value" }, text(one)), h("code", { class: "value there" }, text(two))),
      );
    });
    if (rows.length === 0) state.replaceChildren(h("p", { class: "hint" }, a.fields.length + b.fields.length > 0 ? "Its fields have the same values." : "No field was recorded up to here."));
    else refill(state, rows);
  }

  function line(found: Difference, key: string, what?: string): HTMLElement {
    const isOne = found.id_a === null || found.id_b === null;
    const words = isOne || found.where === found.what ? found.what : `${found.what}: ${found.where}`;
    const values = isOne ? (found.id_b === null ? "only here" : "only there") : `${shown(found.a, 60)} → ${shown(found.b, 60)}`;
    return h(
      "li", {}, h(
        "button", { type: "button", "data-key": key, "aria-current": store.pair.peek() === found ? "true" : undefined, onclick: () => store.openPair(found) },
        h("span", { class: "at" }, found.tick === null ? "" : String(found.tick)),
        h("span", { class: "text" }, shown(what ?? words, 120), h("span", { class: "soft" }, ` ${values}`)),
      ),
    );
  }
  return element;
}
