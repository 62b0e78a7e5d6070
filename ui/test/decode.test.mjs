import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.document = { body: { dataset: {} }, getElementById: () => null };
const { decode, ERROR_BIT, MOST_LEVEL } = await import("../src/api.ts");

function answer(head, columns) {
  const text = new TextEncoder().encode(JSON.stringify(head));
  const start = Math.ceil((4 + text.length) / 8) * 8;
  const bytes = new Uint8Array(start + columns.reduce((sum, each) => sum + each.byteLength, 0));
  new DataView(bytes.buffer).setUint32(0, text.length, true);
  bytes.set(text, 4);
  let at = start;
  for (const each of columns) {
    bytes.set(new Uint8Array(each.buffer), at);
    at += each.byteLength;
  }
  return bytes.buffer;
}

test("events are read column by column", () => {
  const head = { mode: "events", from: 0, to: 2, count: 3 };
  const columns = [
    new Float64Array([1, 2.5, 3]), new Float32Array([0, 1, 2]), new Uint32Array([7, 8, 9]), new Uint32Array([0, 1, 1]),
    new Uint8Array([4, 5, 6]), new Uint8Array([1, 0, 4]),
  ];
  const tile = decode(answer(head, columns));
  assert.deepEqual([...tile.t], [1, 2.5, 3]);
  assert.deepEqual([...tile.row], [7, 8, 9]);
  assert.deepEqual([...tile.lane], [0, 1, 1]);
  assert.deepEqual([...tile.flags], [1, 0, 4]);
});

test("bins are read lane by lane", () => {
  const tile = decode(answer({ mode: "bins", from: 0, to: 2, px: 3 }, [new Uint8Array([1, 2, 131, 4, 5, 255])]));
  assert.deepEqual([...tile.bins].map((cell) => cell & MOST_LEVEL), [1, 2, 3, 4, 5, 127]);
  assert.deepEqual([...tile.bins].map((cell) => (cell & ERROR_BIT) > 0), [false, false, true, false, false, true]);
});
