import assert from "node:assert/strict";
import { test } from "node:test";
import { between, duration, tickAxis, timeAxis } from "../src/axis.ts";

test("a tick axis goes there and back, and rises", () => {
  let seed = 7;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  for (let round = 0; round < 200; round++) {
    const ticks = [];
    let [tick, t] = [Math.floor(random() * 5), random() * 100];
    for (let n = 0; n < 2 + random() * 50; n++) {
      ticks.push([tick, t]);
      tick += 1 + Math.floor(random() * 3);
      t += 1 + random() * 1e5;
    }
    const axis = tickAxis(ticks, t + 10);
    let before = axis.first;
    for (let n = 0; n <= 100; n++) {
      const at = (n / 100) * (t + 10);
      const u = axis.toU(at);
      assert.ok(u >= before - 1e-9 && u >= axis.first && u <= axis.last);
      assert.ok(Math.abs(axis.toT(u) - at) < 1e-3 * Math.max(1, at));
      before = u;
    }
    for (const [each, first] of ticks) assert.ok(Math.abs(axis.toU(first) - each) < 1e-9);
  }
});

test("interpolation stays within its ends", () => {
  assert.equal(between([0, 10], [5, 6], -3), 5);
  assert.equal(between([0, 10], [5, 6], 30), 6);
  assert.equal(between([0, 10], [5, 6], 5), 5.5);
});

test("marks are about 110 pixels apart and inside the range", () => {
  const axis = timeAxis(3.6e9);
  for (const [u0, u1] of [[0, 3.6e9], [0, 1000], [5e6, 9e6], [0, 20]]) {
    const marks = axis.marks(u0, u1, 1100);
    assert.ok(marks.length >= 2 && marks.length <= 14, `${marks.length} from ${u0} to ${u1}`);
    assert.ok(marks.every((mark) => mark.u >= u0 && mark.u <= u1));
  }
});

test("durations are written as people write them", () => {
  const cases = [[0, "0"], [850, "850 µs"], [12_500, "12.5 ms"], [3_200_000, "3.2 s"], [245e6, "4 min 5 s"], [7200e6, "2 h"]];
  for (const [us, text] of cases) assert.equal(duration(us), text);
});
