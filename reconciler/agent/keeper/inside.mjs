// Runs inside pi, as an extension: says what pi was really told, which nobody outside can know, and reads its models anew when
// asked. It speaks by the status line "reconciler", which only the keeper reads; it changes nothing in the conversation.
import { createHash } from "node:crypto";

const KEY = "reconciler";
const digest = (text) => createHash("sha256").update(text, "utf8").digest("hex");

export default function (pi) {
  pi.on("session_start", (_, ctx) => ctx.ui.setStatus(KEY, "{}")); // here I am: the command below exists
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
