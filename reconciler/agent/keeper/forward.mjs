// Inside a boundary without a network: the way out to the keeper's proxy. pi loads it with our extension; a command is started by it:
// node forward.mjs PROGRAM ARGUMENT...
import { spawn } from "node:child_process";
import net from "node:net";

export const PORT = 3128;
export const SOCKET = "/run/reconciler-proxy";
export const OUTWARDS = import.meta.filename; // starts a command with the way out
const ONCE = Symbol.for("reconciler.forward");
const LOOPBACK = /^(localhost|127\.0\.0\.1|\[::1\]):(\d+)$/;

function pair(one, other) {
  one.on("error", () => other.destroy());
  other.on("error", () => one.destroy());
  one.pipe(other).pipe(one);
}

function serve(port, onConnection) {
  const server = net.createServer(onConnection);
  server.unref();
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
}

/** A connection through the proxy to what the machine itself serves on its loopback, which is another one in here. */
function through(client, target) {
  const proxy = net.connect(SOCKET);
  proxy.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n\r\n`);
  let head = Buffer.alloc(0);
  const answered = (bytes) => {
    head = Buffer.concat([head, bytes]);
    const end = head.indexOf("\r\n\r\n");
    if (end < 0 && head.length < 4096) return;
    proxy.off("data", answered);
    if (!head.toString("latin1").startsWith("HTTP/1.1 200")) return client.destroy();
    client.write(head.subarray(end + 4));
    pair(client, proxy);
  };
  proxy.on("data", answered);
  proxy.on("error", () => client.destroy());
  client.on("error", () => proxy.destroy());
}

/** Listens where HTTP_PROXY points, and on the port of each allowed service of the machine's own loopback. Once in a process. */
export function forward(allowed) {
  globalThis[ONCE] ??= Promise.all([
    serve(PORT, (client) => pair(client, net.connect(SOCKET))),
    ...allowed.flatMap((target) => {
      const found = LOOPBACK.exec(target);
      return found ? [serve(Number(found[2]), (client) => through(client, target))] : [];
    }),
  ]);
  return globalThis[ONCE];
}

/** What a boundary tells who starts in it; undefined where the network is the machine's own. */
export function allowedHere() {
  const told = process.env.RECONCILER_ALLOWED;
  return told === undefined ? undefined : told.split(" ").filter(Boolean);
}

if (process.argv[1] === import.meta.filename) {
  await forward(allowedHere() ?? []);
  const child = spawn(process.argv[2], process.argv.slice(3), { stdio: "inherit" });
  child.once("error", (error) => {
    console.error(`${process.argv[2]} can't be run: ${error.code}`);
    process.exit(127);
  });
  child.once("exit", (code, signal) => process.exit(code ?? 128 + (signal ? 9 : 0)));
}
