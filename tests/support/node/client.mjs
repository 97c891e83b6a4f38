// Calls the functions of examples/typed.py and examples/media.py with openapi-fetch, and prints how many.
// The types come from openapi-typescript, and tsc checks this file with them.
//   node client.mjs http://localhost:8080 http://localhost:8081
import assert from "node:assert/strict";
import { File } from "node:buffer";
import createClient from "openapi-fetch";

const [typedUrl, mediaUrl] = process.argv.slice(2);
const headers = { Authorization: "Bearer 0123456789abcdefTOKEN" };
/** @type {import("openapi-fetch").Client<import("./typed").paths>} */
const typed = createClient({ baseUrl: typedUrl, headers });
/** @type {import("openapi-fetch").Client<import("./media").paths>} */
const media = createClient({ baseUrl: mediaUrl, headers });
let called = 0;

/**
 * Return the data of a call, which must succeed.
 * @template T
 * @param {Promise<{ data?: T, error?: { detail?: string }, response: Response }>} call
 */
async function got(call) {
  const { data, error, response } = await call;
  assert.equal(error, undefined, `${response.url}: ${JSON.stringify(error)}`);
  assert.ok(data !== undefined, response.url);
  called++;
  return data;
}

assert.equal((await got(typed.GET("/add/{a}/", { params: { path: { a: 2 }, query: { b: 3 } } }))).sum, 5);
assert.equal((await got(typed.POST("/add/{a}/", { params: { path: { a: 2 } }, body: { b: 4 } }))).sum, 6);
assert.equal((await got(typed.GET("/square-root/{number}/", { params: { path: { number: 2.25 } } }))).root, 1.5);
assert.equal((await got(typed.GET("/later/{day}/", { params: { path: { day: "2030-12-31" } } }))).day, "2031-01-01");
const feet = { path: { to: /** @type {const} */ ("ft") }, query: { length: 0.3048 } };
assert.equal((await got(typed.GET("/convert/{to}/", { params: feet }))).ft, 1);
const points = { a: { x: 0 }, b: { x: 3, y: 4 } };
assert.equal((await got(typed.POST("/distance/", { body: points }))).distance, 5);
const order = await got(typed.POST("/order/", { body: { name: "bolt" } }));
assert.deepEqual([order.name, order.count, order.tags], ["bolt", 1, []]);
for (const numbers of [[3, 1, 2], [7]]) {
  const { numbers: sorted } = await got(typed.GET("/sort/", { params: { query: { numbers } } }));
  assert.deepEqual(sorted, [...numbers].sort());
}
assert.equal((await got(typed.GET("/count/", { params: { query: { text: "a b", letters: true } } }))).count, 2);
// @ts-expect-error: the type of a variable in the path is known.
const { error } = await typed.GET("/add/{a}/", { params: { path: { a: "x" } } });
assert.ok(error);
assert.equal(error.status, 422);
assert.match(error.detail ?? "", /^a must be an integer/);

const bytes = /** @type {any} */ (new Uint8Array([0, 255, 1]));
const sum = await got(media.POST("/checksum/", {
  body: bytes, bodySerializer: () => bytes, headers: { "Content-Type": "application/octet-stream" },
  params: { query: { algorithm: "sha1" } },
}));
assert.deepEqual([sum.algorithm, sum.size, sum.digest.length], ["sha1", 3, 40]);
const noise = await got(media.GET("/noise/{size}/", { params: { path: { size: 5 } }, parseAs: "arrayBuffer" }));
assert.equal(noise.byteLength, 5);
assert.match(await got(media.GET("/square/{side}/", { params: { path: { side: 5 } }, parseAs: "text" })), /^<svg/);
assert.equal(await got(media.GET("/poem/", { params: { query: { lines: 1 } }, parseAs: "text" })), "line 1");
const days = { days: ["2030-01-01", "2030-01-02"], last: "2030-01-01" };
assert.deepEqual(await got(media.GET("/between/", { params: { query: days } })), ["2030-01-01"]);
const sales = [{ day: "2030-01-01", article: "bolt", amount: 2 }];
assert.deepEqual((await got(media.POST("/totals/", { body: { sales } })))[0].mean, 2);
const steps = await got(media.GET("/countdown/{start}/", { params: { path: { start: 2 } }, parseAs: "stream" }));
let lines = "";
for await (const part of /** @type {AsyncIterable<Uint8Array>} */ (/** @type {unknown} */ (steps)))
  lines += Buffer.from(part).toString();
assert.deepEqual(lines.trim().split("\n").map(line => JSON.parse(line).done), [1, 2]);

/** @param {Record<string, unknown>} fields */
function form(fields) {
  const made = new FormData();
  for (const [name, value] of Object.entries(fields))
    for (const each of [value].flat()) made.append(name, /** @type {any} */ (each));
  return made;
}
const file = /** @type {any} */ (new File(["xyz"], "photo.png", { type: "image/png" }));
const attached = await got(media.POST("/attach/", { body: { file, title: "é", copies: 2 }, bodySerializer: form }));
assert.deepEqual([attached.name, attached.size, attached.title, attached.copies], ["photo.png", 3, "é", 2]);
const names = await got(media.POST("/album/", { body: { photos: [file, file] }, bodySerializer: form }));
assert.deepEqual(names, ["photo.png", "photo.png"]);
assert.equal((await got(media.GET("/hello/"))).greeting, "hello");

const sort = { query: { numbers: [2, 1] }, header: { Prefer: "respond-async" } };
const { response } = await typed.GET("/sort/", { params: sort });
assert.equal(response.status, 202);
const job = (response.headers.get("Location") ?? "").split("/").pop() ?? "";
let shown;
do shown = await got(typed.GET("/-/jobs/{job}", { params: { path: { job } } }));
while (["waiting", "running"].includes(shown.state));
assert.deepEqual(shown.result, { numbers: [1, 2] });
console.log(`${called} operations called`);
