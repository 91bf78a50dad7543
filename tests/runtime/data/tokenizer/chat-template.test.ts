import { describe, expect, test } from "vitest";
import { ChatTemplate } from "../../../../runtime/data/tokenizer/chat-template.ts";
import { createTokenizer } from "../../../../runtime/data/tokenizer/create.ts";
import { trainTokenizer } from "../../../../runtime/data/tokenizer/new-tokenizer.ts";

const { tokenizer: file, config } = trainTokenizer([], 266);
const { chat } = createTokenizer(file, config);

describe("our own template", () => {
  const messages = [
    { role: "system", content: "Be brief." },
    { role: "user", content: " Hi\n" },
    { role: "assistant", content: "Hello." },
    { role: "user", content: "Bye" },
  ];

  test("a conversation", () => {
    expect(chat!.render(messages)).toBe("<|bos|><|system|>Be brief.<|user|> Hi\n<|assistant|>Hello.<|eos|><|user|>Bye");
  });

  test("that is to be answered", () => {
    expect(chat!.render(messages.slice(1, 2), { addGenerationPrompt: true })).toBe("<|bos|><|user|> Hi\n<|assistant|>");
  });

  test("has no other roles", () => {
    expect(() => chat!.render([{ role: "tool", content: "" }])).toThrow("there is no role tool");
  });
});

test("a template of a model with variables of its own", () => {
  const template = new ChatTemplate(
    "{% for m in messages %}{{ m['role'] ~ ': ' ~ m['content'] | trim }}{{ sep }}{% endfor %}",
    {
      sep: "|",
    },
  );
  expect(template.render([{ role: "user", content: " a " }])).toBe("user: a|");
  expect(template.render([{ role: "user", content: "a" }], { variables: { sep: "/" } })).toBe("user: a/");
});
