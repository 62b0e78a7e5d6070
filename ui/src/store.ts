// What the page shows: signals, mirrored in the URL, so that every view is a link.

import { batch, computed, effect, signal } from "@preact/signals-core";
import { type Axis, type AxisKind, shifted, tickAxis, timeAxis } from "./axis.ts";
import { held } from "./offline.ts";
import { ask, type Cause, type Comparison, type Detail, type Difference, type Edge, type Node, type Overview } from "./api.ts";

export interface Range {
  u0: number;
  u1: number;
}

/** What the address says. */
export const given = new URLSearchParams(held?.query ?? location.search);

export const overview = signal<Overview | null>(null);
export const axisKind = signal<AxisKind>("tick");
export const view = signal<Range>({ u0: 0, u1: 1 });
/** The moment that every pane shows. */
export const cursor = signal(0);
export const agents = signal<readonly string[]>([]);
/** The id of the open event. */
export const eventId = signal<string | null>(null);
/** What is known of it: its links come later, since finding them takes longer. */
export const detail = signal<(Detail & { isPending: boolean }) | null>(null);
/** The value whose way back is shown: a field of an agent, and the event that set it. */
export interface Origin {
  agent: string;
  field: string;
  at: string;
}
export const origin = signal<Origin | null>(null);
/** The findings, and the number of the open one. */
export const causes = signal<readonly Cause[]>([]);
export const findingNumber = signal<number | null>(null);
export const finding = computed(() => {
  const number = findingNumber.value;
  return number === null || eventId.value !== null ? null : (causes.value[number] ?? null);
});
export interface Links {
  edges: Edge[];
  nodes: Node[];
}
/** Edges and events of the open event or finding, and those of the way of a value. */
const linked = signal<Links>({ edges: [], nodes: [] });
export const way = signal<Links | null>(null);
/** What is drawn over the lanes: the way of a value stays while one goes along it, if it has more than one event. */
export const links = computed<Links>(() => (origin.value !== null && way.value !== null && way.value.edges.length > 0 ? way.value : linked.value));
export const filter = signal("");
export const order = signal<"trouble" | "role">("trouble");
export const onlyErrors = signal(false);
/** Only the lanes of the open event or finding, and the chosen ones. */
export const onlyInvolved = signal(false);
export const showMessages = signal(false);
/** The session that this one is compared with, what is known of it, and how the two differ. */
export const compared = signal<string | null>(null);
export const other = signal<Overview | null>(null);
export const comparison = signal<Comparison | null>(null);
/** The pair of events at which the cursor was put. */
export const pair = signal<Difference | null>(null);
/** What a fork said of itself, while it is compared with its origin. */
export const forkText = signal<readonly string[]>([]);
/** The agent whose fork is being described. */
export const forking = signal<string | null>(null);
export const onlyDifferent = signal(true);
export const playing = signal(false);
export const speed = signal(1);
export const notice = signal("");

export const axis = computed(() => {
  const found = overview.value;
  if (found === null) return timeAxis(1);
  return axisKind.value === "tick" && found.ticks.length > 0
    ? tickAxis(found.ticks, found.length_us)
    : timeAxis(found.length_us);
});

/** The axis of the other session: the same ticks, or times shifted so that the first difference is at one place. */
export const otherAxis = computed<Axis>(() => {
  const found = other.value;
  if (found === null) return axis.value;
  if (axis.value.kind === "tick") return tickAxis(found.ticks, found.length_us);
  const first = comparison.value?.first;
  return shifted(axis.value, first?.t_a != null && first.t_b !== null ? first.t_b - first.t_a : 0);
});

/** The moment of the other session at the cursor. */
export const otherCursor = computed(() => {
  const at = pair.value;
  if (at?.t_b != null && cursor.value === (at.t_a ?? otherAxis.value.toT(at.t_b))) return at.t_b;
  return otherAxis.value.toT(axis.value.toU(cursor.value));
});

/** Rows of the other session's lanes have this much more than their numbers. */
export const OTHER = 2 ** 24;

/** The lane that a row of `lanes` shows. */
export function laneAt(row: number): Overview["lanes"][number] | undefined {
  return row >= OTHER ? other.value?.lanes[row - OTHER] : overview.value?.lanes[row];
}

/** A heading between the lanes when they are grouped by role. */
export interface Heading {
  role: string;
  lanes: number;
  errors: number;
}

/** The headings; heading n stands in `lanes` as -1 - n. */
export const headings = computed<readonly Heading[]>(() => {
  if (order.value !== "role") return [];
  const found = new Map<string, Heading>();
  for (const number of matching.value) {
    const lane = overview.value!.lanes[number]!;
    const heading = found.get(lane.role) ?? { role: lane.role, lanes: 0, errors: 0 };
    found.set(lane.role, { ...heading, lanes: heading.lanes + 1, errors: heading.errors + lane.errors });
  }
  return [...found.values()];
});

/** The rows that are shown, from top to bottom: numbers of lanes, and headings below 0. */
export const lanes = computed<readonly number[]>(() => {
  const rows: number[] = [];
  if (other.value !== null) return paired.value;
  if (order.value !== "role") return matching.value;
  let role: string | null = null;
  let heading = 0;
  for (const number of matching.value) {
    const lane = overview.value!.lanes[number]!;
    if (lane.role !== role) rows.push(-1 - heading++);
    role = lane.role;
    rows.push(number);
  }
  return rows;
});

/** Each lane with that of the other session below it; those that differ first, in the order in which they do. */
const paired = computed<readonly number[]>(() => {
  const ranks = new Map((comparison.value?.agents ?? []).map((each, rank) => [each.agent ?? SESSION, rank]));
  const beside = new Map(other.value!.lanes.map((lane, number) => [lane.agent, number + OTHER]));
  const words = filter.value.trim().toLowerCase();
  const found = matching.value.map((number) => ({ agent: overview.value!.lanes[number]!.agent, rows: [number] }));
  for (const each of found) {
    const twin = beside.get(each.agent);
    if (twin !== undefined) each.rows.push(twin);
  }
  for (const [agent, row] of beside) {
    if (!laneOf.value.has(agent) && agent.toLowerCase().includes(words)) found.push({ agent, rows: [row] });
  }
  const rank = (agent: string): number => ranks.get(agent) ?? Infinity;
  const wanted = onlyDifferent.value && ranks.size > 0 ? found.filter(({ agent }) => ranks.has(agent)) : found;
  return wanted.toSorted((a, b) => (rank(a.agent) === rank(b.agent) ? 0 : rank(a.agent) - rank(b.agent))).flatMap(({ rows }) => rows);
});
const SESSION = "(session)";

const matching = computed<readonly number[]>(() => {
  const found = overview.value?.lanes ?? [];
  const words = filter.value.trim().toLowerCase();
  const involved = onlyInvolved.value && links.value.nodes.length > 0 ? involvedLanes.value : null;
  const wanted = found
    .map((lane, number) => ({ lane, number }))
    .filter(({ lane, number }) => involved?.has(number) ?? (!onlyErrors.value || lane.errors > 0))
    .filter(({ lane }) => !words || `${lane.agent} ${lane.role}`.toLowerCase().includes(words));
  if (order.value === "role") {
    // The roles by their errors, those without a name last; within one, the order of the session.
    const errors = new Map<string, number>();
    for (const { lane } of wanted) errors.set(lane.role, (errors.get(lane.role) ?? 0) + lane.errors);
    const rank = (role: string): number => (role ? -errors.get(role)! : 1);
    wanted.sort((a, b) => rank(a.lane.role) - rank(b.lane.role) || a.lane.role.localeCompare(b.lane.role) || a.number - b.number);
  }
  return wanted.map(({ number }) => number);
});

const involvedLanes = computed(() => {
  const found = new Set<number>(selectedLanes.value);
  const number = findingNumber.value;
  const path = number === null ? [] : (causes.value[number]?.events ?? []);
  for (const node of [...links.value.nodes, ...path]) if (node.lane !== null) found.add(node.lane);
  return found;
});

export const laneOf = computed(() => {
  const numbers = new Map<string, number>();
  overview.value?.lanes.forEach((lane, number) => numbers.set(lane.agent, number));
  return numbers;
});

export const selectedLanes = computed(() =>
  agents.value.map((agent) => laneOf.value.get(agent)).filter((lane): lane is number => lane !== undefined),
);

export function tickOf(t: number): number | null {
  const ticks = overview.value?.ticks ?? [];
  let found: number | null = null;
  for (const [tick, first] of ticks) {
    if (first > t) break;
    found = tick;
  }
  return found;
}

/** The first overview: set the axis, and take over what the URL says. */
export function begin(found: Overview): void {
  batch(() => {
    axisKind.value = found.ticks.length > 0 && given.get("axis") !== "time" ? "tick" : "time";
    overview.value = found;
    restore(given);
  });
}

/** Counts how often the numbers of lanes came to mean other agents. */
export const renumbered = signal(0);

/** Whether the address asks for more than the session as a whole. */
export const isAddressed = [...given.keys()].some((name) => name !== "token");
/** Whether nothing was compared yet but what the address says. */
export let isFirst = true;

/** A later overview of a session that is still read or written: the view grows with it where it showed its end. */
export function grow(found: Overview): void {
  const before = overview.value;
  if (before === null) return begin(found);
  if (before.events === found.events && before.status === found.status && before.state === found.state) return;
  const { u0, u1 } = view.value;
  const atEnd = u1 >= axis.value.last;
  const whole = atEnd && u0 <= axis.value.first;
  const follows = cursor.value > 0 && cursor.value >= before.length_us;
  batch(() => {
    if (before.lanes.some((lane, number) => found.lanes[number]?.agent !== lane.agent)) renumbered.value++;
    if (before.ticks.length === 0 && found.ticks.length > 0 && whole) axisKind.value = "tick";
    overview.value = found;
    const { first, last } = axis.value;
    if (whole) view.value = { u0: first, u1: last };
    else if (atEnd) view.value = clamped({ u0: last - (u1 - u0), u1: last });
    if (follows) cursor.value = found.length_us;
  });
}

/** What a running session has grown to while one looks at its past; null at now. */
export const waiting = signal<Overview | null>(null);

/** Whether the cursor and the view are at the end. */
function isAtNow(): boolean {
  const found = overview.value;
  return found === null || (cursor.value >= found.length_us && view.value.u1 >= axis.value.last);
}

/** A later overview of a running session: it is shown at once at now, and waits while one looks back. */
export function hear(found: Overview): void {
  if (isAtNow() && !playing.value && eventId.value === null) {
    waiting.value = null;
    grow(found);
  } else if (found.events !== overview.value?.events || found.status !== overview.value.status) waiting.value = found;
}

/** Show the end of a running session, and follow it from there. */
export function toNow(): void {
  const found = waiting.value;
  const { u0, u1 } = view.value;
  batch(() => {
    waiting.value = null;
    playing.value = false;
    if (eventId.value !== null) close();
    if (found !== null) grow(found);
    const whole = u0 <= axis.value.first && u1 >= axis.value.last;
    view.value = whole ? { u0: axis.value.first, u1: axis.value.last } : clamped({ u0: axis.value.last - (u1 - u0), u1: axis.value.last });
    cursor.value = overview.value?.length_us ?? 0;
  });
}

function restore(from: URLSearchParams): void {
  const { first, last } = axis.value;
  const [u0, u1] = [Number(from.get("from") ?? first), Number(from.get("to") ?? last)];
  view.value = u1 > u0 ? clamped({ u0, u1 }) : { u0: first, u1: last };
  cursor.value = Math.min(Math.max(Number(from.get("t") ?? 0) || 0, 0), overview.value?.length_us ?? 0);
  agents.value = from.getAll("agent");
  filter.value = from.get("find") ?? "";
  order.value = from.get("order") === "role" ? "role" : "trouble";
  onlyErrors.value = from.has("errors");
  onlyInvolved.value = from.has("involved");
  showMessages.value = from.has("messages");
  onlyDifferent.value = !from.has("all");
  if (compared.value !== from.get("compare")) {
    compared.value = from.get("compare");
    other.value = comparison.value = pair.value = null;
  }
  const [agent, field, at] = [from.get("of"), from.get("value"), from.get("set")];
  origin.value = agent !== null && field !== null && at !== null ? { agent, field, at } : null;
  const id = from.get("event");
  const number = from.get("finding");
  findingNumber.value = number === null ? null : Number(number);
  eventId.value = id;
  if (id !== null) void open(id, { moves: false });
  else {
    detail.value = null;
    draw(finding.value);
  }
}

function described(): string {
  const { first, last, kind } = axis.value;
  const { u0, u1 } = view.value;
  const found = new URLSearchParams();
  if (kind === "time" && (overview.value?.ticks.length ?? 0) > 0) found.set("axis", "time");
  if (u0 > first || u1 < last) {
    found.set("from", String(+u0.toPrecision(9)));
    found.set("to", String(+u1.toPrecision(9)));
  }
  if (cursor.value > 0) found.set("t", String(Math.round(cursor.value)));
  for (const agent of agents.value) found.append("agent", agent);
  if (eventId.value !== null) found.set("event", eventId.value);
  const back = origin.value;
  if (back !== null) for (const [name, value] of [["of", back.agent], ["value", back.field], ["set", back.at]] as const) found.set(name, value);
  if (findingNumber.value !== null) found.set("finding", String(findingNumber.value));
  if (filter.value) found.set("find", filter.value);
  if (order.value === "role") found.set("order", "role");
  if (onlyErrors.value) found.set("errors", "1");
  if (onlyInvolved.value) found.set("involved", "1");
  if (showMessages.value) found.set("messages", "1");
  if (compared.value !== null) found.set("compare", compared.value);
  if (compared.value !== null && !onlyDifferent.value) found.set("all", "1");
  const text = found.toString();
  return location.pathname + (text ? `?${text}` : "");
}

let timer = 0;

/** Keep the URL up to date: small moves replace the entry of the history, jumps add one. */
export function mirror(): void {
  addEventListener("popstate", ({ state }: PopStateEvent) => {
    clearTimeout(timer);
    batch(() => restore(new URLSearchParams(held === null ? location.search : String(state ?? held.query))));
  });
  if (held !== null) return; // a file has no address of its own for each view
  effect(() => {
    if (overview.value === null) return;
    const url = described();
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (url !== location.pathname + location.search) history.replaceState(null, "", url);
    }, 200);
  });
}

function remember(): void {
  clearTimeout(timer);
  if (held !== null) {
    const [, query = ""] = described().split("?");
    history.replaceState(query, "");
    history.pushState(query, "");
    return;
  }
  history.replaceState(null, "", described());
  history.pushState(null, "", described());
}

export function clamped({ u0, u1 }: Range): Range {
  const { first, last, least } = axis.value;
  const span = Math.min(Math.max(u1 - u0, least), last - first);
  const middle = (u0 + u1) / 2;
  const start = Math.min(Math.max(middle - span / 2, first), last - span);
  return { u0: start, u1: start + span };
}

export function zoom(factor: number, around?: number): void {
  const { u0, u1 } = view.value;
  const u = around ?? Math.min(Math.max(axis.value.toU(cursor.value), u0), u1);
  view.value = clamped({ u0: u - (u - u0) * factor, u1: u + (u1 - u) * factor });
}

export function fit(): void {
  view.value = { u0: axis.value.first, u1: axis.value.last };
}

/** Move the cursor, and the view with it where the cursor would leave it. */
export function moveTo(t: number): void {
  batch(() => {
    cursor.value = Math.min(Math.max(t, 0), overview.value?.length_us ?? 0);
    const u = axis.value.toU(cursor.value);
    const { u0, u1 } = view.value;
    const span = u1 - u0;
    if (u < u0 + span * 0.02 || u > u1 - span * 0.02) {
      view.value = clamped({ u0: u - span / 2, u1: u + span / 2 });
    }
  });
}

export function choose(agent: string, more = false): void {
  const known = agents.value;
  if (!more) agents.value = [agent];
  else agents.value = known.includes(agent) ? known.filter((each) => each !== agent) : [...known, agent].slice(-8);
}

/** Draw the path of a finding over the lanes. */
export function draw(cause: Cause | null): void {
  linked.value = { edges: cause?.edges ?? [], nodes: cause?.events ?? [] };
}

/** Show a finding: its path, and the cursor where it begins. */
export function openFinding(number: number, { moves = true }: { moves?: boolean } = {}): void {
  const cause = causes.value[number];
  if (cause === undefined) return;
  if (moves) remember();
  batch(() => {
    eventId.value = null;
    detail.value = null;
    origin.value = null;
    if (moves) {
      findingNumber.value = number;
      const [start] = cause.events;
      if (start?.agent != null && laneOf.value.has(start.agent)) choose(start.agent);
      if (start?.t != null) moveTo(cause.t ?? start.t);
    }
    draw(cause);
  });
}

/** Open an event: cursor, agent, detail, and then its causes over the lanes. */
export async function open(id: string, { moves = true, back = null }: { moves?: boolean; back?: Origin | null } = {}): Promise<void> {
  if (moves) remember();
  batch(() => {
    eventId.value = id;
    if (moves) origin.value = back;
  });
  const path = `event/${encodeURIComponent(id)}`;
  const isCurrent = (): boolean => eventId.value === id;
  try {
    const first = await ask<Detail>(path, { links: 0 });
    if (!isCurrent()) return;
    const self: Node = { id, t: first.t, lane: first.lane, agent: null, tick: null, text: first.text };
    batch(() => {
      detail.value = { ...first, isPending: true };
      linked.value = { edges: [], nodes: [self] };
      if (moves) {
        const lane = overview.value?.lanes[first.lane];
        if (lane && !agents.value.includes(lane.agent)) choose(lane.agent);
        moveTo(first.t);
      }
    });
    const found = await ask<Detail>(path);
    if (!isCurrent()) return;
    batch(() => {
      detail.value = { ...found, isPending: false };
      linked.value = { edges: found.edges, nodes: [self, ...found.causes, ...found.effects] };
    });
  } catch (error) {
    if (isCurrent()) notice.value = `This event cannot be shown: ${(error as Error).message}`;
  }
}

/** Close the event; a finding that it was opened from is shown again, and closed by the next call. */
export function close(): void {
  batch(() => {
    if (eventId.value === null) findingNumber.value = null;
    origin.value = null;
    eventId.value = null;
    detail.value = null;
    draw(finding.value);
  });
}

/** Compare with another session; null ends the comparison. */
export function compareWith(id: string | null, said: readonly string[] = []): void {
  remember();
  isFirst = false;
  batch(() => {
    close();
    close();
    compared.value = id;
    other.value = comparison.value = pair.value = null;
    forking.value = null;
    forkText.value = said;
  });
}

/** Show ticks or time, at the same place. */
export function useAxis(kind: AxisKind): void {
  const [t0, t1] = [axis.value.toT(view.value.u0), axis.value.toT(view.value.u1)];
  batch(() => {
    axisKind.value = kind;
    view.value = clamped({ u0: axis.value.toU(t0), u1: axis.value.toU(t1) });
  });
}

/** Put the cursor on a difference. */
export function openPair(found: Difference): void {
  batch(() => {
    pair.value = found;
    if (found.agent !== null) choose(found.agent);
    if (found.t_a !== null) moveTo(found.t_a);
    else if (found.t_b !== null) moveTo(axis.value.toT(otherAxis.value.toU(found.t_b)));
  });
}
