#!/usr/bin/env node
// A program in pi's place that does what the real one does only on bad days. The first word of a prompt says what.
import { createInterface } from "node:readline";
import { appendFileSync } from "node:fs";

const say = (record) => process.stdout.write(`${JSON.stringify(record)}\n`);
const started = (id) => say({ id, type: "response", command: "prompt", success: true, data: { disposition: "started" } });
const acts = {
  silent: () => {},
  handled: (id) => say({ id, type: "response", command: "prompt", success: true, data: { disposition: "handled" } }),
  garbage: (id) => {
    process.stdout.write('not json\n\n[1]\nnull\n"x"\n{"type":"response","id":"nobody"}\n{"type":"news"}\n');
    say({ id, type: "response", command: "prompt", success: true, data: { disposition: "started" } });
    say({ type: "agent_settled" });
  },
  tools: (id, n) => {
    for (let i = 0; i < n; i++) say({ type: "tool_execution_start", toolName: "t".repeat(50), toolCallId: String(i) });
    say({ id, type: "response", command: "prompt", success: true, data: { disposition: "handled" } });
  },
  exit: (id, code) => {
    process.stderr.write("last words\n");
    process.exit(code);
  },
  flood: async (id, megabytes) => {
    started(id);
    const delta = JSON.stringify({ type: "message_update", assistantMessageEvent: { type: "text_delta", delta: "x".repeat(1 << 16) } });
    for (let i = 0; i < megabytes * 16; i++) if (!process.stdout.write(`${delta}\n`)) await new Promise((go) => process.stdout.once("drain", go));
    say({ type: "agent_settled" });
  },
  line: (id, megabytes) => {
    started(id);
    say({ type: "message_end", message: { role: "assistant", stopReason: "stop", content: "y".repeat(megabytes << 20) } });
    say({ type: "agent_settled" });
  },
  started,
};

const state = { isStreaming: false, isCompacting: false, pendingMessageCount: 0, sessionId: "s" };
createInterface({ input: process.stdin }).on("line", (line) => {
  const command = JSON.parse(line);
  if (process.env.ODD_LOG) appendFileSync(process.env.ODD_LOG, `${line}\n`);
  if (command.type === "get_state") say({ id: command.id, type: "response", command: "get_state", success: true, data: state });
  else if (command.type === "prompt") {
    const [act, n] = command.message.split(" ");
    acts[act](command.id, Number(n));
  } else say({ id: command.id, type: "response", command: command.type, success: true });
});
