// Answers from the data that a shared page holds in itself: the questions of api.ts, without a server.

import type {
  Arrow, Comparison, Detail, Difference, Differences, Field, Findings, Overview, Query, Row, Tile,
} from "./api.ts";
import { tickAxis } from "./axis.ts";

interface Columns {
  step: number[];
  duration_us: number[];
  flags: number[];
  kind: number[];
  lane: number[];
  tick: (number | null)[];
  level: string[];
  text: string[];
  whole: Record<string, unknown>[];
}

interface Session {
  overview: Overview;
  part: { t0: number; t1: number; events: number; before: { events: number; errors: number; messages: number } } | null;
  findings: Findings;
  links: Record<string, Detail>;
  events: Columns;
  states: Record<string, { changes: [number, string | null, Record<string, string | null>][]; handles: string[] }>;
  arrows: Arrow[];
}

interface Held {
  /** What an address would say: the moment, the chosen agents, the comparison. */
  query: string;
  session: string;
  sessions: Record<string, Session>;
  compared: { comparison: Comparison; differences: Record<string, Differences> } | null;
}

const ERROR = 1;
const [MOST_LEVEL, ERROR_BIT] = [127, 128];
const MOST_SINGLE = 5000;
const MOST_CHARS = 2000;

async function read(): Promise<Held | null> {
  const element = document.getElementById("shared");
  if (element === null) return null;
  const bytes = Uint8Array.from(atob(element.textContent!.trim()), (each) => each.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  element.remove();
  return (await new Response(stream).json()) as Held;
}

/** What the page holds; null if there is a server to ask. */
export const held = typeof document === "undefined" ? null : await read();

class Offline {
  private readonly t: Float64Array;
  private readonly lower: string[] = [];

  constructor(private readonly of: Session) {
    this.t = new Float64Array(of.events.step.length);
    let at = 0;
    of.events.step.forEach((step, n) => (this.t[n] = at += step));
  }

  /** The first event at or after a time; after it with `behind`. */
  private place(t: number, behind = false): number {
    let [low, high] = [0, this.t.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (behind ? this.t[middle]! <= t : this.t[middle]! < t) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private rows(query: Query, t0: number, t1: number): number[] {
    const lanes = query["lanes"] === undefined || query["lanes"] === "" ? null : new Set(String(query["lanes"]).split(",").map(Number));
    const found: number[] = [];
    for (let n = this.place(t0), end = this.place(t1, true); n < end; n++) if (lanes?.has(this.of.events.lane[n]!) ?? true) found.push(n);
    return found;
  }

  private row(n: number): Row {
    const { overview, events } = this.of;
    const lane = events.lane[n]!;
    return {
      id: String(events.whole[n]!["id"]), row: n, t: this.t[n]!, tick: events.tick[n]!, lane, agent: overview.lanes[lane]!.agent,
      kind: overview.kinds[events.kind[n]!] ?? "", level: events.level[n]!, text: events.text[n]!, duration_ms: events.duration_us[n]! / 1000 || null,
    };
  }

  private contains(n: number, words: string): boolean {
    return (this.lower[n] ??= `${this.of.events.text[n]!} ${JSON.stringify(this.of.events.whole[n])}`.toLowerCase()).includes(words);
  }

  window(query: Query): Tile {
    const { overview, events } = this.of;
    const [px, lanes] = [Number(query["px"]), query["sum"] ? null : String(query["lanes"]).split(",").map(Number)];
    const axis = query["axis"] === "tick" ? tickAxis(overview.ticks, overview.length_us) : null;
    const [u0, u1] = [Number(query["t0"]), Number(query["t1"])];
    const [t0, t1] = axis ? [axis.toT(u0), axis.toT(u1)] : [u0, u1];
    const begin = (n: number): number => this.t[n]! - events.duration_us[n]!;
    const position = new Map(lanes?.map((lane, n) => [lane, n]));
    const rows: number[] = [];
    for (let n = this.place(t0); n < this.t.length && (this.t[n]! <= t1 || events.duration_us[n]! > 0); n++) {
      if ((lanes === null || position.has(events.lane[n]!)) && (this.t[n]! <= t1 || begin(n) <= t1)) rows.push(n);
    }
    const tile: Tile = {
      mode: "events", from: 0, to: lanes?.length ?? 1, px, bins: new Uint8Array(0),
      t: Float64Array.from(rows, (n) => this.t[n]!), durationUs: Float32Array.from(rows, (n) => events.duration_us[n]!),
      row: Uint32Array.from(rows), lane: Uint32Array.from(rows, (n) => position.get(events.lane[n]!) ?? 0),
      kind: Uint8Array.from(rows, (n) => Math.min(255, events.kind[n]!)), flags: Uint8Array.from(rows, (n) => events.flags[n]!),
    };
    if (lanes !== null && rows.length <= MOST_SINGLE) return tile;
    const cells = new Float64Array(tile.to * px);
    tile.mode = "bins";
    tile.bins = new Uint8Array(cells.length);
    tile.t.forEach((t, n) => {
      const u = axis ? axis.toU(t) : t;
      const x = Math.floor(((u - u0) / (u1 - u0)) * px);
      if (x < 0 || x > px) return;
      const cell = tile.lane[n]! * px + Math.min(x, px - 1);
      cells[cell]! += 1;
      if (tile.flags[n]! & ERROR) tile.bins[cell] = ERROR_BIT;
    });
    const top = Math.log1p(cells.reduce((most, each) => Math.max(most, each), 1));
    cells.forEach((each, n) => {
      if (each > 0) tile.bins[n]! |= 1 + Math.round((Math.log1p(each) / top) * (MOST_LEVEL - 1));
    });
    return tile;
  }

  events(query: Query): { events: Row[]; more: boolean } {
    const [words, limit] = [String(query["q"] ?? "").toLowerCase(), Number(query["limit"] ?? 200)];
    let rows = this.rows(query, Number(query["t0"] ?? -Infinity), Number(query["t1"] ?? Infinity));
    if (query["errors"]) rows = rows.filter((n) => this.of.events.flags[n]! & ERROR);
    if (words) rows = rows.filter((n) => this.contains(n, words));
    if (query["order"] === "desc") rows.reverse();
    return { events: rows.slice(0, limit).map((n) => this.row(n)), more: rows.length > limit };
  }

  search(query: Query): unknown {
    const words = String(query["q"]).trim().toLowerCase();
    const agents = this.of.overview.lanes.flatMap((lane, n) => (`${lane.agent} ${lane.role}`.toLowerCase().includes(words) ? [n] : []));
    return { agents, events: this.events({ q: words, limit: 50 }).events };
  }

  counters(query: Query): unknown {
    const end = this.place(Number(query["t"]), true);
    const before = this.of.part?.before;
    let [errors, messages, tick] = [before?.errors ?? 0, before?.messages ?? 0, null as number | null];
    for (let n = 0; n < end; n++) {
      if (this.of.events.flags[n]! & ERROR) errors++;
      if (this.of.events.flags[n]! & 16) messages++;
      tick = this.of.events.tick[n] ?? tick;
    }
    return { events: end + (before?.events ?? 0), errors, messages, tick };
  }

  event(id: string): Detail {
    const known = this.of.links[id];
    if (known !== undefined) return known;
    const n = this.of.events.whole.findIndex((each) => each["id"] === id);
    if (n < 0) throw new Error("this page does not hold the event");
    const { t, lane, text } = this.row(n);
    return { event: this.of.events.whole[n]!, t, lane, text, code: null, causes: [], effects: [], edges: [] };
  }

  step(query: Query): unknown {
    const [t, direction] = [Number(query["t"]), Number(query["direction"])];
    const none = { t: null };
    if (query["by"] === "tick") {
      const starts = this.of.overview.ticks.map(([, first]) => first);
      const next = direction > 0 ? starts.find((first) => first > t) : starts.findLast((first) => first < t);
      return next === undefined ? none : { t: next };
    }
    const isError = query["by"] === "error";
    const rows = this.rows(query, -Infinity, Infinity).filter((n) => !isError || this.of.events.flags[n]! & ERROR);
    const n = direction > 0 ? rows.find((each) => this.t[each]! > t) : rows.findLast((each) => this.t[each]! < t);
    return n === undefined ? none : this.row(n);
  }

  private changes(agent: string, t: number): [number, string | null, Record<string, string | null>][] {
    return (this.of.states[agent]?.changes ?? []).filter(([at]) => at <= t);
  }

  state(query: Query): unknown {
    const [agent, t] = [String(query["agent"]), Number(query["t"])];
    const fields = new Map<string, Field>();
    for (const [at, id, values] of this.changes(agent, t)) {
      for (const [name, value] of Object.entries(values)) {
        const before = fields.get(name)?.value ?? null;
        if (value === null) fields.delete(name);
        else fields.set(name, { name, value, is_cut: value.length >= MOST_CHARS, changed: id === null ? null : at, changed_id: id, before });
      }
    }
    const lane = this.of.overview.lanes.findIndex((each) => each.agent === agent);
    const last = this.rows({ lanes: lane }, -Infinity, t).findLast((n) => this.of.events.tick[n] !== null);
    const tick = last === undefined ? null : this.of.events.tick[last]!;
    return { agent, t, tick, fields: [...fields.values()], handles: this.of.states[agent]?.handles ?? [] };
  }

  why(query: Query): unknown {
    const name = String(query["field"]);
    const found: unknown[] = [];
    let before: string | null = null;
    for (const [t, id, values] of this.changes(String(query["agent"]), Number(query["t"]))) {
      if (!(name in values)) continue;
      const n = this.place(t);
      if (id !== null) found.push({ id, t, tick: this.of.events.tick[n] ?? null, action: null, before, after: values[name] });
      before = values[name]!;
    }
    return { changes: found.reverse().slice(0, 50) };
  }

  series(query: Query): unknown {
    const points = this.changes(String(query["agent"]), Infinity).flatMap(([t, , values]) => {
      const value = Number(values[String(query["field"])] ?? NaN);
      return Number.isFinite(value) ? [[t, value]] : [];
    });
    return { points };
  }

  arrows(query: Query): unknown {
    const [t0, t1] = [Number(query["t0"]), Number(query["t1"])];
    return { arrows: this.of.arrows.filter((each) => Math.max(each.t0, each.t1) >= t0 && Math.min(each.t0, each.t1) <= t1).slice(0, Number(query["limit"])) };
  }

  answer(path: string, query: Query): unknown {
    const { overview, findings } = this.of;
    switch (path) {
      case "overview": return { ...overview, status: overview.status === "running" ? "unknown" : overview.status };
      case "findings": return findings;
      case "compare": return query["agent"] === undefined ? held!.compared?.comparison : (held!.compared?.differences[String(query["agent"])] ?? { state: "ready", pairs: [] as Difference[], more: false });
      case "events": return this.events(query);
      case "counters": return this.counters(query);
      case "search": return this.search(query);
      case "step": return this.step(query);
      case "state": return this.state(query);
      case "why": return this.why(query);
      case "series": return this.series(query);
      case "arrows": return this.arrows(query);
      default:
        if (path.startsWith("event/")) return this.event(decodeURIComponent(path.slice(6)));
        throw new Error("a shared page cannot answer this: open the session with agent-trace view");
    }
  }
}

const open = new Map<string, Offline>();

export function offline(of: string): Offline {
  let found = open.get(of);
  if (found === undefined) {
    const data = held!.sessions[of];
    if (data === undefined) throw new Error("this page does not hold that session");
    open.set(of, (found = new Offline(data)));
  }
  return found;
}

