// A server on Node's http2 module that sends back what it is sent, and misbehaves by path.
//
// node server.mjs PORT KEY CERTIFICATE LEDGER [maxConcurrentStreams=N] [initialWindowSize=N] ...
// LEDGER gets the path of each request that was processed, before anything is answered.
import { appendFileSync, readFileSync } from "node:fs";
import { constants, createSecureServer } from "node:http2";

const [port, key, certificate, ledger, ...words] = process.argv.slice(2);
const settings = Object.fromEntries(words.map((word) => word.split("=")).map(([name, value]) => [name, Number(value)]));
const HUGE = Buffer.alloc(16 << 20, "x");
const refused = new Set();
let seen = 0;

const take = (path) => appendFileSync(ledger, `${path}\n`);

const answer = (stream, path, body, status = 200) => {
  if (stream.destroyed) return;
  take(path);
  stream.respond({ ":status": status, "apns-id": path });
  stream.end(body);
};

const behaviours = {
  echo: (stream, path, body) => answer(stream, path, body),
  slow: (stream, path, body) => setTimeout(() => answer(stream, path, body), 20),
  never: (stream, path) => take(path),
  huge: (stream, path) => answer(stream, path, HUGE),
  reset: (stream, path) => (take(path), stream.close(constants.NGHTTP2_INTERNAL_ERROR)),
  // Every third one, once.
  refuse: (stream, path, body) => {
    seen += 1;
    if (seen % 3 !== 0 || refused.has(path)) return answer(stream, path, body);
    refused.add(path);
    stream.close(constants.NGHTTP2_REFUSED_STREAM);
  },
  trailers: (stream, path, body) => {
    take(path);
    stream.respond({ ":status": 200 }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-checksum": "1" }));
    stream.end(body);
  },
  early: (stream, path, body) => {
    stream.additionalHeaders({ ":status": 103, link: "</x>; rel=preload" });
    answer(stream, path, body);
  },
  // The limit sinks with the tenth request and rises with the fiftieth; ping both ways meanwhile.
  limits: (stream, path, body) => {
    seen += 1;
    if (seen === 10) stream.session.settings({ maxConcurrentStreams: 3, initialWindowSize: 10 });
    if (seen === 50) stream.session.settings({ maxConcurrentStreams: 100, initialWindowSize: 65535, headerTableSize: 0 });
    if (seen % 20 === 0) stream.session.ping(() => {});
    setTimeout(() => answer(stream, path, body), 5);
  },
  // Every hundredth one ends its connection in good order.
  leave: (stream, path, body) => {
    seen += 1;
    answer(stream, path, body);
    if (seen % 100 === 0) stream.session.close();
  },
  // Only once: what is above this stream is not processed.
  below: (stream, path, body) => {
    seen += 1;
    if (seen < 50) return setTimeout(() => answer(stream, path, body), 5);
    if (seen > 50) return stream.session.left ? undefined : answer(stream, path, body);
    stream.session.left = true;
    stream.session.goaway(constants.NGHTTP2_NO_ERROR, stream.id);
    answer(stream, path, body);
    stream.on("close", () => stream.session?.destroy());
  },
};

const server = createSecureServer({
  key: readFileSync(key),
  cert: readFileSync(certificate),
  settings,
  maxSessionMemory: 200, // MB; with less it resets streams beside a large answer
  paddingStrategy: constants.PADDING_STRATEGY_MAX,
});
server.on("session", (session) => session.on("error", () => {}));
server.on("stream", (stream, headers) => {
  const path = headers[":path"];
  const parts = [];
  stream.on("error", () => {});
  stream.on("data", (part) => parts.push(part));
  stream.on("end", () => behaviours[path.split("/")[1]](stream, path, Buffer.concat(parts)));
});
server.on("sessionError", () => {});
server.listen(Number(port), "127.0.0.1");
