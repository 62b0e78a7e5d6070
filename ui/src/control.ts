// Control of the running program: pause it at its next tick, step it, and change a field by hand.

import { effect, signal } from "@preact/signals-core";
import { ask, control, type Controlled, mayControl, type Program, type State } from "./api.ts";
import { h, shown } from "./dom.ts";
import * as store from "./store.ts";

const LOOK_MS = 1000;
const AS_SAID = 200;

/** The strip below the verdict; nothing where control is not allowed, or the session does not run. */
export function makeControl(): HTMLElement | null {
  if (!mayControl) return null;
  const program = signal<Program>({ state: "none" });
  const busy = signal(false);
  const said = h("span", { class: "said", role: "status" });
  const state = h("b", {});
  const button = (text: string, title: string, asked: Record<string, string | number>): HTMLButtonElement =>
    h("button", { type: "button", title, onclick: () => void send(asked) }, text);
  const pause = button("Pause", "Hold the program where its next tick begins", { command: "pause" });
  const step = button("Step", "Let one tick begin, and hold again", { command: "step", ticks: 1 });
  const steps = button("10 steps", "Let ten ticks begin, and hold again", { command: "step", ticks: 10 });
  const resume = button("Go on", "Let the program run", { command: "resume" });

  const agent = h("select", { "aria-label": "Agent" });
  const field = h("select", { "aria-label": "Field" });
  const value = h("input", { type: "text", "aria-label": "New value", placeholder: "JSON or a text", spellcheck: "false" });
  const set = h("button", { type: "submit" }, "Change");
  const form = h("form", {}, agent, field, value, set);
  const strip = h(
    "section", { class: "control", "aria-label": "The running program", hidden: true },
    h("span", {}, "The program is ", state), pause, step, steps, resume, form, said,
  );

  const told = (answer: Controlled): string => {
    if (!answer.done) return answer.why ?? "Nothing was done.";
    const at = answer.tick == null ? "" : ` before tick ${answer.tick}`;
    return "new" in answer ? `Changed${at}: ${JSON.stringify(answer.old)} → ${JSON.stringify(answer.new)}` : "";
  };

  async function send(asked: Record<string, string | number>): Promise<void> {
    busy.value = true;
    said.textContent = "Waiting for its next tick …";
    try {
      said.textContent = shown(told(await control(asked)), AS_SAID);
    } catch (error) {
      said.textContent = shown((error as Error).message, AS_SAID);
    } finally {
      busy.value = false;
    }
    await look();
  }

  async function look(): Promise<void> {
    try {
      program.value = await ask<Program>("control");
    } catch {
      program.value = { state: "none" };
    }
  }

  /** The fields of the agent, with what they hold at the end of what is recorded so far. */
  let values = new Map<string, string>();
  async function fill(): Promise<void> {
    const { fields } = await ask<State>("state", { agent: agent.value, t: store.overview.peek()!.length_us });
    values = new Map(fields.map((each) => [each.name, each.value]));
    const chosen = field.value;
    field.replaceChildren(...fields.map(({ name }) => h("option", { value: name, selected: name === chosen }, shown(name, 60))));
    value.value = values.get(field.value) ?? "";
  }
  agent.addEventListener("change", () => void fill().catch(() => undefined));
  field.addEventListener("change", () => (value.value = values.get(field.value) ?? ""));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void send({ command: "set", agent: agent.value, field: field.value, text: value.value });
  });

  effect(() => {
    const { state: is, tick } = program.value;
    strip.hidden = is === "none" || store.overview.value?.status !== "running";
    state.textContent = is === "paused" ? `paused${tick == null ? "" : ` before tick ${tick}`}` : "running";
    for (const each of [pause, step, steps, resume, set]) each.disabled = busy.value;
    pause.hidden = is === "paused";
    step.hidden = steps.hidden = resume.hidden = is !== "paused";
  });
  effect(() => {
    const names = store.agents.value.filter((each) => each !== "(session)");
    form.hidden = names.length === 0;
    if (names.length === 0 || names.includes(agent.value)) return;
    agent.replaceChildren(...names.map((each) => h("option", { value: each }, shown(each, 60))));
    void fill().catch(() => undefined);
  });
  void look();
  setInterval(() => {
    if (!document.hidden && store.overview.value?.status === "running" && !busy.value) void look();
  }, LOOK_MS);
  return strip;
}
