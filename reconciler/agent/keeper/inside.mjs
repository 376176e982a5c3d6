// Runs inside pi, as an extension: says what pi was really told, which nobody outside can know, and reads its models anew when
// asked. It speaks by the status line "reconciler", which only the keeper reads; it changes nothing in the conversation.
import { createHash } from "node:crypto";
import { allowedHere, forward } from "./forward.mjs";

const KEY = "reconciler";
const LONGEST = 20_000;
const RETRIES = 15; // seconds: pi tries three times, after 2, 4 and 8
const CUT = new Set(["bash", "read", "write", "edit"]); // of a longer command nothing would be allowed; of a file its path decides
const digest = (text) => createHash("sha256").update(text, "utf8").digest("hex");

/** Seconds that a provider asks to be left alone for: a number, or a date, which its own clock explains. */
const asked = (headers) => {
  const text = headers.get("retry-after") ?? "";
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  const until = Date.parse(text) - Date.parse(headers.get("date") ?? "");
  return until > 0 ? until / 1000 : 0;
};

/** pi does not tell what a provider asks for with its refusal, so its requests to the address of the model in use are listened to. pi asks
 * again whatever the provider asked for; until the keeper has ended that, a try that comes too soon gets the same answer from here.
 * Returns what makes the next request of a new prompt go out. */
function listen(ctx) {
  const fetch = globalThis.fetch;
  let refused = { until: 0 };
  let told = 0;
  globalThis.fetch = async (...request) => {
    const address = String(request[0]?.url ?? request[0]);
    const provider = Boolean(ctx.model?.baseUrl && address.startsWith(ctx.model.baseUrl));
    if (provider && refused.address === address && performance.now() < refused.until) return refused.answer.clone();
    const answer = await fetch(...request);
    try {
      const seconds = provider && answer.status >= 400 ? asked(answer.headers) : 0;
      if (provider && (seconds > 0 || told > 0)) ctx.ui.setStatus(KEY, JSON.stringify({ retryAfter: (told = seconds) })); // the last answer holds
      if (seconds > RETRIES) refused = { address, answer: answer.clone(), until: performance.now() + 1000 * seconds };
    } catch {
      // an answer that can't be read asks for nothing
    }
    return answer;
  };
  return () => (refused = { until: 0 });
}

/** Before each call of a tool the keeper decides; without its answer no call runs. Long texts are told by their digest. */
async function ask(title, event, ctx) {
  let verdict;
  try {
    const whole = JSON.stringify([event.toolName, event.input]);
    const cut = ([, value]) => typeof value !== "object" || value === null;
    const texts = Object.entries(event.input ?? {}).filter(cut).map(([name, value]) => [name, typeof value === "string" ? value.slice(0, LONGEST) : value]);
    const args = CUT.has(event.toolName) ? Object.fromEntries(texts) : event.input;
    const said = { call: event.toolCallId, tool: event.toolName, args, digest: digest(whole) };
    verdict = JSON.parse(await ctx.ui.input(title, JSON.stringify(said)));
  } catch {
    verdict = undefined;
  }
  if (verdict?.allow === true) return undefined;
  return { block: true, reason: verdict?.reason ?? "Denied: the guard of this agent did not answer." };
}

/** How pi shortens its conversation, by its settings as it has them now; what they leave out is as pi has it by default. */
function compactionOf(settings, model) {
  const { modelOverrides, ...told } = settings.compaction ?? {};
  return { enabled: true, reserveTokens: 16_384, keepRecentTokens: 20_000, ...told, ...modelOverrides?.[`${model?.provider}/${model?.id}`] };
}

export default async function (pi) {
  let prompted;
  const allowed = allowedHere();
  if (allowed) await forward(allowed);
  const guard = process.env.RECONCILER_GUARD;
  if (guard) pi.on("tool_call", (event, ctx) => ask(guard, event, ctx));
  pi.on("session_start", (_, ctx) => {
    ctx.ui.setStatus(KEY, guard ? '{"guard":"asks"}' : "{}"); // here I am: the command below exists
    prompted ??= listen(ctx);
  });
  pi.on("before_agent_start", () => void prompted?.());
  pi.registerCommand("reconciler-inside", {
    description: "Used by the keeper",
    handler: async (_, ctx) => {
      await ctx.modelRegistry.refresh({ allowNetwork: false });
      const { appendSystemPrompt, contextFiles } = ctx.getSystemPromptOptions();
      const context = Object.fromEntries(contextFiles.map((file) => [file.path, digest(file.content)]));
      const compaction = pi.getSettings && compactionOf(pi.getSettings(), ctx.model);
      ctx.ui.setStatus(KEY, JSON.stringify({ prompt: digest(appendSystemPrompt), context, compaction }));
    },
  });
}
