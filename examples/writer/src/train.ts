/** Learns from the documentation of dskc: `npm run train`. */
import { load } from "#model";

const model = await load();
const end = await model.train("Pretrain", {
  folder: "runs/Pretrain",
  resume: true,
  evaluateEvery: 50,
  evaluateTokens: 2048,
  remark: (text) => console.error(text),
  listen: (event) => {
    if (event.event === "validation") console.error(`step ${event.step}: loss ${event.loss.toFixed(2)}`);
  },
});
await model.close();
if (end.reason === "failed") throw new Error(end.message);
