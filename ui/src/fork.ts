// What if: fork a run at the cursor with changed fields, and look at the fork beside its origin.

import { effect } from "@preact/signals-core";
import { ask, type Field, fork, type Forked, type ForkAsked, mayFork, type Row, type State } from "./api.ts";
import { duration } from "./axis.ts";
import { h, named, shown } from "./dom.ts";
import * as store from "./store.ts";

/** Values longer than this are folded away: generators and caches are seldom what one wants to change. */
const LONG_CHARS = 120;

/** The button beside an agent's state; nothing where forks are not allowed. */
export function forker(agent: string): HTMLElement | null {
  if (!mayFork || agent === "(session)") return null;
  return h("button", { class: "forker", type: "button", "data-key": `fork ${agent}`, onclick: () => (store.forking.value = agent) }, "Fork from here");
}

/** One field of the form: what it shows, and its value as JSON if somebody changed it. */
interface Entry {
  row: HTMLElement;
  name: string;
  changed(): string | null;
}

function entry(field: Field): Entry {
  const value: unknown = JSON.parse(field.value);
  const isFlag = typeof value === "boolean";
  const isText = typeof value === "string";
  const first = isText ? value : field.value;
  const input = isFlag
    ? h("input", { type: "checkbox", checked: value })
    : typeof value === "number"
      ? h("input", { type: "text", inputmode: "decimal", value: first, spellcheck: "false" })
      : isText && !first.includes("\n")
        ? h("input", { type: "text", value: first, spellcheck: "false" })
        : h("textarea", { rows: 2, spellcheck: "false" }, first);
  const row = h("label", {}, h("span", {}, shown(field.name, 80)), input);
  const changed = (): string | null => {
    if (isFlag) return (input as HTMLInputElement).checked === value ? null : String(!value);
    if (input.value === first) return null;
    if (isText) return JSON.stringify(input.value);
    JSON.parse(input.value); // throws where it is none
    return input.value;
  };
  input.addEventListener("input", () => {
    let is = true;
    try {
      is = changed() !== null;
      input.setCustomValidity("");
    } catch {
      input.setCustomValidity(typeof value === "number" ? "Give a number" : "Give JSON; texts need quotes");
    }
    row.classList.toggle("edited", is);
  });
  return { row, name: field.name, changed };
}

export function makeForkForm(): HTMLElement {
  const element = h("section", { class: "pane whatif", "aria-label": "What if", hidden: true });
  let number = Date.now();

  effect(() => {
    const agent = store.forking.value;
    element.hidden = agent === null;
    if (agent !== null) void open(agent).catch((error: Error) => element.replaceChildren(h("p", { class: "hint" }, shown(error.message, 300))));
  });

  async function open(agent: string): Promise<void> {
    const t = store.cursor.peek();
    const lane = store.laneOf.peek().get(agent);
    const [state, { events }] = await Promise.all([
      ask<State>("state", { agent, t }),
      ask<{ events: Row[] }>("events", { lanes: lane, t1: t, order: "desc", limit: 1 }),
    ]);
    const at = events[0];
    if (at === undefined) throw new Error(`${agent} has no event up to here to fork after.`);
    const entries = state.fields.filter((field) => !field.is_cut).map(entry);
    const isLong = new Set(state.fields.filter((field) => field.value.length > LONG_CHARS).map(({ name }) => name));
    const seed = h("input", { type: "text", inputmode: "numeric", pattern: "-?[0-9]{1,18}", placeholder: "as recorded" });
    const live = h("input", { type: "text", placeholder: "none: all answer as recorded" });
    const outcome = h("input", { type: "text", placeholder: "e.g. published>20" });
    const said = h("pre", { role: "status" });
    const run = h("button", { class: "run", type: "submit" }, "Run the fork");
    const find = h("button", { type: "button" }, "Find the point of no return");
    const vary = h("input", { type: "text", placeholder: "FIELD=1,2,4", spellcheck: "false" });
    const seeds = h("input", { type: "text", inputmode: "numeric", pattern: "[0-9]{1,3}", placeholder: "none" });
    const sweep = h("button", { type: "button" }, "Run a fork for each");
    const bars = h("dl", { class: "bars", hidden: true });
    const row = (name: string, input: HTMLElement): HTMLElement => h("label", {}, h("span", {}, name), input);
    const long = entries.filter(({ name }) => isLong.has(name)).map((each) => each.row);
    const form = h(
      "form", {}, ...entries.filter(({ name }) => !isLong.has(name)).map((each) => each.row),
      long.length > 0 && h("details", {}, h("summary", {}, "Longer values"), ...long),
      row("Seed", seed), row("May be called live", live),
      h("div", { class: "buttons" }, run),
      h("h3", {}, "What does it lead to?"), row("Outcome", outcome),
      h("p", { class: "hint" }, "Until when would this change have helped?"), h("div", { class: "buttons" }, find),
      h("p", { class: "hint" }, "How do other values or seeds end?"), row("Values to try", vary), row("Seeds to try", seeds),
      h("div", { class: "buttons" }, sweep), bars, said,
    );
    const buttons = [run, find, sweep];

    async function start(what: string | null, doing: string, many: Partial<ForkAsked> = {}): Promise<Forked | undefined> {
      bars.hidden = true;
      if (!form.reportValidity()) return undefined;
      const values: Record<string, string> = {};
      for (const each of entries) {
        const value = each.changed();
        if (value !== null) values[each.name] = value;
      }
      const asked: ForkAsked = {
        number: number++, agent, at: at!.id, values, seed: seed.value ? Number(seed.value) : null,
        live: live.value.split(",").map((each) => each.trim()).filter(Boolean), outcome: what,
        vary: [], seeds: 0, ...many,
      };
      for (const button of buttons) button.disabled = true;
      said.textContent = doing;
      try {
        return await fork(asked);
      } catch (error) {
        said.textContent = shown((error as Error).message, 600);
        return undefined;
      } finally {
        for (const button of buttons) button.disabled = false;
      }
    }

    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void start(null, "The fork runs …").then((found) => {
        if (found?.session == null) return;
        const lines = found.stopped === null ? [] : [`It stopped: ${found.stopped}`];
        store.compareWith(found.session, [...lines, `Changed: ${found.changed.join(", ") || "nothing"}`]);
      });
    });
    find.addEventListener("click", () => {
      if (!outcome.value.trim()) {
        said.textContent = "Name an outcome: a field at the end, or a condition on one.";
        outcome.focus();
        return;
      }
      void start(outcome.value.trim(), "Forks run at one point after the other …").then((found) => {
        if (found === undefined) return;
        said.textContent = shown(found.text, 2000);
        const show = (): void => said.scrollIntoView({ block: "nearest" });
        show();
        if (found.last !== null) void store.open(found.last).then(show); // which scrolled to the event
      });
    });

    sweep.addEventListener("click", () => {
      const many = { vary: vary.value.split(";").map((each) => each.trim()).filter(Boolean), seeds: Number(seeds.value || 0) };
      if (many.vary.length === 0 && !many.seeds) {
        said.textContent = "Name values to try, such as FIELD=1,2,4 (and ; before another field), or a number of seeds.";
        vary.focus();
        return;
      }
      void start(outcome.value.trim() || null, "The forks run …", many).then((found) => {
        if (found === undefined) return;
        const all = found.bars ?? [];
        const most = Math.max(1, ...all.map(([, count]) => count));
        bars.replaceChildren(...all.map(([text, count]) => h(
          "div", {}, h("dt", {}, shown(text, 60)), h("dd", {}, h("meter", { min: 0, max: most, value: count, "aria-hidden": "true" }), String(count)),
        )));
        bars.hidden = all.length === 0;
        said.textContent = shown(found.text, 2000);
        said.scrollIntoView({ block: "nearest" });
      });
    });

    const where = at.tick === null ? duration(at.t) : `tick ${at.tick}`;
    element.replaceChildren(
      h("div", { class: "head" }, h("h2", {}, `What if, from here: ${named(agent, 60)}`),
        h("button", { class: "quiet close", type: "button", "aria-label": "Close the form", onclick: () => (store.forking.value = null) }, "×")),
      h("p", { class: "hint" }, `The run goes on from ${where} with your code of today. Change what you want to.`),
      form,
    );
    element.parentElement?.scrollTo(0, 0);
    (entries.find(({ name }) => !["agent_id", "agent_role"].includes(name) && !isLong.has(name))?.row.querySelector("input, textarea") as HTMLElement | null)?.focus({ preventScroll: true });
  }
  return element;
}
