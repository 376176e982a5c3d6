// The keeper: runs pi on the machine it is on, and outlives every connection to it.
//
//   node main.mjs serve --dir DIR --socket PATH [--segment-bytes N] [--segments N] [--session-bytes N]
//
// DIR holds all it knows; whoever starts it holds an exclusive lock on DIR/lock for it. It never starts pi or sends anything
// by itself, it only remembers. docs/keeper-protocol.md says what it answers.
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Commands } from "./commands.mjs";
import { State, count } from "./disk.mjs";
import { Events } from "./events.mjs";
import { Memory } from "./memory.mjs";
import { Pi } from "./pi.mjs";
import { Keeper } from "./server.mjs";

const STOP_MS = 3000;

function options() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      dir: { type: "string" },
      socket: { type: "string" },
      "segment-bytes": { type: "string", default: String(1 << 20) },
      segments: { type: "string", default: "8" },
      "session-bytes": { type: "string", default: String(2 ** 30) },
    },
  });
  if (positionals[0] !== "serve" || !values.dir) throw new Error("usage: node main.mjs serve --dir DIR [--socket PATH]");
  const number = (name) => {
    const value = Number(values[name]);
    if (!Number.isSafeInteger(value) || value < 1) throw new Error(`--${name} is a positive number`);
    return value;
  };
  const directory = path.resolve(values.dir);
  const socket = values.socket ?? path.join(directory, "sock");
  return {
    directory,
    socket,
    events: { segmentBytes: number("segment-bytes"), segments: number("segments") },
    pi: { sessionBytes: number("session-bytes"), sockets: path.dirname(socket) },
  };
}

/** The installed program lies in a directory keeper-VERSION. */
function version() {
  const name = path.basename(path.dirname(fs.realpathSync(fileURLToPath(import.meta.url))));
  return name.startsWith("keeper-") ? name.slice("keeper-".length) : "dev";
}

async function main() {
  process.title = "reconciler-keeper";
  process.umask(0o022); // what pi and commands make is theirs; our own files are 0600 in a directory that is 0700
  const chosen = options();
  fs.mkdirSync(chosen.directory, { recursive: true, mode: 0o700 });
  const state = new State(chosen.directory);
  const events = new Events(chosen.directory, chosen.events, () => {});
  const memory = new Memory(chosen.directory, events);
  const pi = new Pi(chosen.directory, state, events, chosen.pi, memory);
  const commands = new Commands(chosen.directory, pi, events);
  events.record("keeper", { version: version(), pid: process.pid });
  await pi.endLeftover();
  commands.settleTheOpen();

  const end = async (code) => {
    await pi.stop(STOP_MS);
    process.exit(code);
  };
  process.on("SIGHUP", () => count("hangup")); // it has no terminal to lose
  for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => void end(0));
  const keeper = new Keeper({ version: version(), directory: chosen.directory, state, events, pi, commands, memory, quit: () => process.exit(0) });
  await keeper.listen(chosen.socket);
}

await main();
