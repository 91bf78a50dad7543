/** Continues every line of stdin, token by token: `echo "The sea" | npm start`. */
import { createInterface } from "node:readline";
import { defaults, load } from "#model";

const model = await load({ weights: "runs/Pretrain" });
console.error(`${model.name} on ${model.device}, temperature ${defaults.temperature}`);
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(line);
  for await (const { text } of model.generate(line, { maxTokens: 120 })) process.stdout.write(text);
  process.stdout.write("\n\n");
}
await model.close();
