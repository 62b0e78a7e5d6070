// The horizontal axis: session time in microseconds (t) or simulation ticks, both mapped to one number u.

export type AxisKind = "time" | "tick";

export interface Mark {
  u: number;
  label: string;
}

export interface Axis {
  kind: AxisKind;
  /** The first and last u of the session. */
  first: number;
  last: number;
  toU(t: number): number;
  toT(u: number): number;
  /** Labelled marks for a range, about one for every 110 pixels. */
  marks(u0: number, u1: number, px: number): Mark[];
  /** The finest range that a person can still want to see. */
  least: number;
}

export function timeAxis(lengthUs: number): Axis {
  const last = Math.max(1, lengthUs);
  return {
    kind: "time",
    first: 0,
    last,
    toU: (t) => t,
    toT: (u) => u,
    marks: (u0, u1, px) => {
      const step = niceTimeStep((u1 - u0) / Math.max(1, px / MARK_PX));
      return marksEvery(step, u0, u1, (t) => clock(t, step));
    },
    least: 10,
  };
}

/** The axis of another session whose times are greater by `us` at the same places. */
export function shifted(axis: Axis, us: number): Axis {
  return { ...axis, toU: (t) => axis.toU(t - us), toT: (u) => axis.toT(u) + us };
}

const MARK_PX = 110;

/** An axis over [tick, t] pairs: straight between two recorded ticks; a tick lasts until the next one begins. */
export function tickAxis(ticks: readonly [number, number][], lengthUs: number): Axis {
  const us: number[] = [];
  const ts: number[] = [];
  for (const [tick, t] of ticks) {
    if (us.length === 0 || (tick > us[us.length - 1]! && t >= ts[ts.length - 1]!)) {
      us.push(tick);
      ts.push(t);
    }
  }
  if (ts[0]! > 0) {
    us.unshift(us[0]! - 1);
    ts.unshift(0);
  }
  us.push(us[us.length - 1]! + 1);
  ts.push(Math.max(lengthUs, ts[ts.length - 1]! + 1));
  const toU = (t: number): number => between(ts, us, t);
  const toT = (u: number): number => between(us, ts, u);
  return {
    kind: "tick",
    first: us[0]!,
    last: us[us.length - 1]!,
    toU,
    toT,
    marks: (u0, u1, px) => {
      const wanted = (u1 - u0) / Math.max(1, px / MARK_PX);
      const ticks = marksEvery(niceTickStep(wanted), u0, u1, (u) => `tick ${u}`);
      if (wanted > 0.5) return ticks;
      // Within a tick, time says where one is.
      const step = niceTimeStep((toT(u1) - toT(u0)) / Math.max(1, px / MARK_PX));
      const near = wanted * 0.8;
      const times = marksEvery(step, toT(u0), toT(u1), (t) => clock(t, step))
        .map(({ u, label }) => ({ u: toU(u), label }))
        .filter(({ u }) => ticks.every((tick) => Math.abs(tick.u - u) > near));
      return [...ticks, ...times];
    },
    least: 0.01,
  };
}

/** Straight interpolation in rising `from`; outside it, the ends. */
export function between(from: readonly number[], to: readonly number[], value: number): number {
  const end = from.length - 1;
  if (value <= from[0]!) return to[0]!;
  if (value >= from[end]!) return to[end]!;
  let low = 0;
  let high = end;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (from[middle]! <= value) low = middle;
    else high = middle;
  }
  const width = from[high]! - from[low]!;
  const share = width > 0 ? (value - from[low]!) / width : 0;
  return to[low]! + share * (to[high]! - to[low]!);
}

function marksEvery(step: number, u0: number, u1: number, label: (u: number) => string): Mark[] {
  const found: Mark[] = [];
  for (let n = Math.ceil(u0 / step); n * step <= u1 && found.length < 200; n++) {
    found.push({ u: n * step, label: label(n * step) });
  }
  return found;
}

function niceTickStep(wanted: number): number {
  return Math.max(1, nice(wanted));
}

function nice(wanted: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(wanted, 1e-9)));
  for (const factor of [1, 2, 5, 10]) if (factor * power >= wanted) return factor * power;
  return 10 * power;
}

const SECONDS = [60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400];

function niceTimeStep(wantedUs: number): number {
  if (wantedUs < 30e6) return Math.max(1, nice(wantedUs));
  return (SECONDS.find((s) => s * 1e6 >= wantedUs) ?? 86400 * Math.ceil(wantedUs / 86400e6)) * 1e6;
}

/** A duration in microseconds as people write it: `850 µs`, `12.5 ms`, `3.2 s`, `4 min 5 s`. */
export function duration(us: number): string {
  const size = Math.abs(us);
  if (size < 1) return "0";
  if (size < 1e3) return `${round(us)} µs`;
  if (size < 1e6) return `${round(us / 1e3)} ms`;
  if (size < 60e6) return `${round(us / 1e6)} s`;
  const seconds = Math.round(us / 1e6);
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const parts = [hours && `${hours} h`, minutes && `${minutes} min`, rest && `${rest} s`].filter(Boolean);
  return parts.slice(0, 2).join(" ") || "0";
}

/** A moment after the start, as precisely as the distance to the next mark needs. */
export function clock(us: number, stepUs: number): string {
  if (us === 0) return "0";
  if (us >= 60e6 && stepUs >= 1e6) return duration(us);
  const [unit, size] = us < 1e3 ? ["µs", 1] : us < 1e6 ? ["ms", 1e3] : ["s", 1e6];
  const decimals = Math.max(0, Math.ceil(Math.log10((size as number) / stepUs) - 1e-9));
  if (us < 60e6) return `${(us / (size as number)).toFixed(decimals)} ${unit}`;
  const minutes = Math.floor(us / 60e6);
  return `${minutes}:${((us - minutes * 60e6) / 1e6).toFixed(decimals).padStart(decimals + 3, "0")}`;
}

function round(value: number): string {
  const text = Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

export function count(n: number): string {
  return n.toLocaleString("en-US");
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}
