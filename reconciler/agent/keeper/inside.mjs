// Runs inside pi, as an extension: says what pi was really told, which nobody outside can know, and reads its models anew when
// asked. It speaks by the status line "reconciler", which only the keeper reads; it changes nothing in the conversation.
import { createHash } from "node:crypto";

const KEY = "reconciler";
const digest = (text) => createHash("sha256").update(text, "utf8").digest("hex");

/** Seconds that a provider asks to be left alone for: a number, or a date, which its own clock explains. */
const asked = (headers) => {
  const text = headers.get("retry-after") ?? "";
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text);
  const until = Date.parse(text) - Date.parse(headers.get("date") ?? "");
  return until > 0 ? until / 1000 : 0;
};

/** pi does not tell what a provider asks for with its refusal, so its requests to the address of the model in use are listened to. */
function listen(ctx) {
  const fetch = globalThis.fetch;
  globalThis.fetch = async (...request) => {
    const answer = await fetch(...request);
    try {
      const address = String(request[0]?.url ?? request[0]);
      const seconds = answer.status >= 400 && ctx.model?.baseUrl && address.startsWith(ctx.model.baseUrl) ? asked(answer.headers) : 0;
      if (seconds > 0) ctx.ui.setStatus(KEY, JSON.stringify({ retryAfter: seconds }));
    } catch {
      // an answer that can't be read asks for nothing
    }
    return answer;
  };
}

export default function (pi) {
  let listening = false;
  pi.on("session_start", (_, ctx) => {
    ctx.ui.setStatus(KEY, "{}"); // here I am: the command below exists
    if (!listening) listen(ctx);
    listening = true;
  });
  pi.registerCommand("reconciler-inside", {
    description: "Used by the keeper",
    handler: async (_, ctx) => {
      await ctx.modelRegistry.refresh({ allowNetwork: false });
      const { appendSystemPrompt, contextFiles } = ctx.getSystemPromptOptions();
      const context = Object.fromEntries(contextFiles.map((file) => [file.path, digest(file.content)]));
      ctx.ui.setStatus(KEY, JSON.stringify({ prompt: digest(appendSystemPrompt), context }));
    },
  });
}
