// The server's answers, and how they are fetched. Times (t) are microseconds since the first event.

import { held, offline } from "./offline.ts";

export interface Lane {
  agent: string;
  role: string;
  events: number;
  errors: number;
  first: number;
  last: number;
  why: string;
}

export interface Overview {
  state: "building" | "ready";
  progress: number;
  session_id: string;
  program: string | null;
  first_us: number;
  length_us: number;
  status: "running" | "ended" | "killed" | "unknown";
  events: number;
  agents: number;
  errors: number;
  lost: number;
  replay: { can: boolean; text: string };
  kinds: string[];
  ticks: [number, number][];
  lanes: Lane[];
}

export interface Row {
  id: string;
  row: number;
  t: number;
  tick: number | null;
  lane: number;
  agent: string;
  kind: string;
  level: string;
  text: string;
  duration_ms: number | null;
}

export interface Node {
  id: string;
  t: number | null;
  lane: number | null;
  agent: string | null;
  tick: number | null;
  text: string;
}

export interface Edge {
  from: string;
  to: string;
  basis: "recorded" | "inferred" | "tested";
  rule: string;
  reason: string;
  /** What forks with and without the cause showed. */
  test?: string | null;
}

export interface Detail {
  event: Record<string, unknown>;
  t: number;
  lane: number;
  text: string;
  code: Code | null;
  causes: Node[];
  effects: Node[];
  edges: Edge[];
}

/** Where an event's function begins, or where its error was raised. */
export interface Code {
  function: string;
  /** path:line, for people. */
  place: string;
  /** The address that opens it in the editor; only if this machine has the file. */
  link?: string;
  is_newer?: boolean;
}

export interface Field {
  name: string;
  value: string;
  is_cut: boolean;
  changed: number | null;
  changed_id: string | null;
  before: string | null;
}

export interface State {
  agent: string;
  t: number;
  tick: number | null;
  fields: Field[];
  handles: string[];
}

export interface Change {
  id: string;
  t: number;
  tick: number | null;
  action: string | null;
  before: string | null;
  after: string | null;
}

export interface Cause {
  title: string;
  sentence: string;
  confidence: number;
  lines: string[];
  events: Node[];
  edges: Edge[];
  /** When what it names is part of the agent's state. */
  t: number | null;
}

/** One difference of two sessions, a and b. */
export interface Difference {
  agent: string | null;
  tick: number | null;
  what: string;
  where: string;
  a: string;
  b: string;
  id_a: string | null;
  id_b: string | null;
  t_a: number | null;
  t_b: number | null;
  common: string | null;
}

export interface Comparison {
  state: "pending" | "ready";
  a: string;
  b: string;
  differ: boolean;
  compared: number;
  states: number;
  text: string;
  notes: string[];
  first: Difference | null;
  /** The first difference of each agent, in order. */
  agents: Difference[];
}

export interface Differences {
  state: "pending" | "ready";
  pairs: Difference[];
  more: boolean;
}

/** An event through which a value came. */
export interface Hop extends Node {
  action: string;
  path: string;
  value: string;
  rule: string;
  from: string | null;
}

export interface Provenance {
  state: "pending" | "ready";
  field: string;
  value: string;
  hops: Hop[];
  /** Why the way back ends there. */
  end: string;
  inputs: { path: string; value: string; id: string }[];
}

export interface SessionRow {
  id: string;
  started: string | null;
  size_bytes: number;
  is_running: boolean;
  fork_of: { session: string; step: string } | null;
}

export interface Findings {
  state: "pending" | "ready";
  status: string;
  causes: Cause[];
  /** What forks showed of the causes, in words; empty if none was tested. */
  tests: string[];
}

export interface Counters {
  events: number;
  errors: number;
  messages: number;
  tick: number | null;
}

export interface Place {
  t: number | null;
  row?: number;
  id?: string;
  lane?: number;
  tick?: number | null;
}

export interface Arrow {
  from: number;
  to: number;
  t0: number;
  t1: number;
  id0: string;
  id1: string;
}

export interface Tile {
  mode: "bins" | "events";
  from: number;
  to: number;
  px: number;
  /** Of each lane and pixel the activity, 1 to `MOST_LEVEL`, and `ERROR_BIT`. */
  bins: Uint8Array;
  t: Float64Array;
  durationUs: Float32Array;
  row: Uint32Array;
  lane: Uint32Array;
  kind: Uint8Array;
  flags: Uint8Array;
}

/** An answer that says what is wrong. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export const session = held?.session ?? document.body.dataset["session"] ?? "newest";
/** What comes before every path of this server, such as /view in the service. */
export const home = document.body.dataset["base"] ?? "";
export const page = `${home}/s/${encodeURIComponent(session)}`;
/** The reports that this server makes; a shared file has none. */
export const reportNames = (document.body.dataset["reports"] ?? "").split(" ").filter(Boolean);

export type Query = Record<string, string | number | undefined>;

function address(path: string, query: Query, of: string): string {
  const given = Object.entries(query).filter(([name, value]) => value !== undefined && (value !== "" || name === "agent"));
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
  const base = of ? `${home}/api/${encodeURIComponent(of)}/` : `${home}/api/`;
  return base + path + (text ? `?${text}` : "");
}

async function get(path: string, query: Query, signal: AbortSignal | undefined, of: string): Promise<Response> {
  const answer = await fetch(address(path, query, of), { credentials: "same-origin", ...(signal && { signal }) });
  return good(answer);
}

/** The answer if it is one; else the words of the refusal. */
async function good(answer: Response): Promise<Response> {
  if (answer.ok) return answer;
  let text = answer.statusText;
  try {
    const problem = (await answer.json()) as { error?: string; remedy?: string; detail?: string };
    text = [problem.error ?? problem.detail, problem.remedy].filter(Boolean).join(": ") || text;
  } catch {
    // The answer has no JSON body; its status line is all there is.
  }
  throw new Refused(answer.status, text);
}

/** What is new in an overview. */
type News = Partial<Omit<Overview, "lanes">> & { lanes?: Record<number, Lane> | Lane[]; more_ticks?: [number, number][] };

/** Follow a session that is written; `told` gets each overview. The browser connects again by itself. */
export function follow(told: (found: Overview) => void): () => void {
  const source = new EventSource(address("live", {}, session));
  let last: Overview | null = null;
  source.onopen = () => (last = null); // a connection begins with all that is known
  source.onmessage = ({ data }: MessageEvent<string>) => {
    const { lanes, more_ticks, ...rest } = JSON.parse(data) as News;
    if (last === null) {
      last = { ...rest, lanes } as Overview;
    } else {
      last = { ...last, ...rest };
      if (lanes !== undefined) {
        last.lanes = [...last.lanes];
        for (const [number, lane] of Object.entries(lanes)) last.lanes[Number(number)] = lane as Lane;
      }
      if (more_ticks !== undefined) last.ticks = [...last.ticks, ...more_ticks];
    }
    told(last);
  };
  return () => source.close();
}

/** Whether this server lets its pages fork runs. */
export const mayFork = document.body.dataset["forks"] === "allowed";

export interface Forked {
  state: "pending" | "ready";
  session: string | null;
  text: string;
  stopped: string | null;
  changed: string[];
  last: string | null;
  /** Of many forks: each outcome with its number of forks. */
  bars?: [string, number][];
}

export interface ForkAsked {
  number: number;
  agent: string;
  at: string;
  /** {field: its new value as JSON}. */
  values: Record<string, string>;
  seed: number | null;
  live: string[];
  outcome: string | null;
  /** FIELD=VALUE,VALUE each. */
  vary: string[];
  seeds: number;
}

/** Start a fork, and ask the same until it has ended. */
export function fork(asked: ForkAsked): Promise<Forked> {
  return posted("forks", asked);
}

/** Test the causes of a complaint by forks with and without them. */
export function tested(q: string): Promise<Findings> {
  return posted("tests", { q });
}

async function posted<T extends { state: string }>(path: string, asked: object): Promise<T> {
  for (;;) {
    const answer = await fetch(address(path, {}, session), {
      method: "POST", credentials: "same-origin", headers: { "Content-Type": "application/json" }, body: JSON.stringify(asked),
    });
    const found = (await (await good(answer)).json()) as T;
    if (found.state === "ready") return found;
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}

/** Whether this server lets its pages control a running program. */
export const mayControl = document.body.dataset["control"] === "allowed";

export interface Program {
  state: "running" | "paused" | "none";
  tick?: number | null;
  why?: string;
}

export interface Controlled {
  done: boolean;
  why?: string;
  tick?: number | null;
  old?: unknown;
  new?: unknown;
}

/** Ask the running program for something, and wait for its next tick. */
export async function control(asked: Record<string, string | number>): Promise<Controlled> {
  const answer = await fetch(address("control", {}, session), {
    method: "POST", credentials: "same-origin", headers: { "Content-Type": "application/json" }, body: JSON.stringify(asked),
  });
  return (await (await good(answer)).json()) as Controlled;
}

/** Ask about this session, or about another one; "" for what concerns none. */
export async function ask<T>(path: string, query: Query = {}, signal?: AbortSignal, of = session): Promise<T> {
  if (held !== null) return offline(of).answer(path, query) as T;
  return (await (await get(path, query, signal, of)).json()) as T;
}

const POLL_MS = 400;

/** Ask until the answer is no longer pending. */
export async function answered<T extends { state: string }>(path: string, query: Query, signal?: AbortSignal, of = session): Promise<T> {
  for (;;) {
    const found = await ask<T>(path, query, signal, of);
    if (found.state !== "pending" && found.state !== "building") return found;
    await new Promise((done) => setTimeout(done, POLL_MS));
    signal?.throwIfAborted();
  }
}

export async function tile(query: Query, signal: AbortSignal, of = session): Promise<Tile> {
  if (held !== null) return offline(of).window(query);
  return decode(await (await get("window", query, signal, of)).arrayBuffer());
}

/** A window's answer: the length of a JSON head, the head, padding to 8 bytes, and the columns. */
export function decode(bytes: ArrayBuffer): Tile {
  const size = new DataView(bytes).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, size))) as {
    mode: "bins" | "events";
    from: number;
    to: number;
    px: number;
    count?: number;
  };
  let at = Math.ceil((4 + size) / 8) * 8;
  const none = new ArrayBuffer(0);
  const found: Tile = {
    mode: head.mode,
    from: head.from,
    to: head.to,
    px: head.px ?? 0,
    bins: new Uint8Array(none),
    t: new Float64Array(none),
    durationUs: new Float32Array(none),
    row: new Uint32Array(none),
    lane: new Uint32Array(none),
    kind: new Uint8Array(none),
    flags: new Uint8Array(none),
  };
  if (head.mode === "bins") {
    found.bins = new Uint8Array(bytes, at); // one row for each lane, or a single one for their sum
    return found;
  }
  const n = head.count ?? 0;
  const take = (width: number): number => {
    const place = at;
    at += width * n;
    return place;
  };
  found.t = new Float64Array(bytes, take(8), n);
  found.durationUs = new Float32Array(bytes, take(4), n);
  found.row = new Uint32Array(bytes, take(4), n);
  found.lane = new Uint32Array(bytes, take(4), n);
  found.kind = new Uint8Array(bytes, take(1), n);
  found.flags = new Uint8Array(bytes, take(1), n);
  return found;
}

export const MOST_LEVEL = 127;
export const ERROR_BIT = 128;

export const ERROR = 1;
export const WARNING = 2;
export const STATE = 4;
export const FULL_STATE = 8;
export const SENT = 16;
export const RECEIVED = 32;

/** Runs requests of one kind: a newer one cancels the older. */
export class Latest {
  private running: AbortController | undefined;

  async run<T>(start: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
    this.running?.abort();
    const own = (this.running = new AbortController());
    try {
      const found = await start(own.signal);
      return own.signal.aborted ? undefined : found;
    } catch (error) {
      if (own.signal.aborted) return undefined;
      throw error;
    }
  }
}

/** Runs one request at a time, and after it the newest that was asked for meanwhile: panes follow a moving cursor. */
export class Newest {
  private isRunning = false;
  private next: (() => Promise<void>) | undefined;

  constructor(private readonly failed: (error: Error) => void) {}

  run(start: () => Promise<void>): void {
    if (this.isRunning) {
      this.next = start;
      return;
    }
    this.isRunning = true;
    void start()
      .catch(this.failed)
      .finally(() => {
        this.isRunning = false;
        const { next } = this;
        this.next = undefined;
        if (next !== undefined) this.run(next);
      });
  }
}
