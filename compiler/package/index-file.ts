/** `index.ts` of a package: the model with its names, for TypeScript. */
import type { ChatTemplate, Message } from "../../runtime/data/tokenizer/chat-template.ts";
import type { Tokenizer } from "../../runtime/data/tokenizer/tokenizer.ts";
import type { ModelFile } from "../../runtime/program/model.ts";
import type { ServePlan } from "../../runtime/serve/plan.ts";
import {
  aliasOf,
  asyncFunctionOf,
  constantOf,
  importOf,
  importTypesOf,
  interfaceOf,
  printTypeScript,
  type Statement,
  toDeclarations,
  toJavaScript,
  typesOf,
} from "../emit/typescript.ts";

/** A train section as `index.ts` tells it. */
export interface IndexTraining {
  readonly name: string;
  readonly losses: readonly string[];
  /** What blocks emit in a step, by path. */
  readonly metrics: readonly string[];
}

export interface IndexSource {
  readonly model: ModelFile;
  /** The comment of the model in the spec. */
  readonly docs: readonly string[];
  /** The sizes of its dims, without those of a call. */
  readonly dims: ReadonlyMap<string, number>;
  readonly trainings: readonly IndexTraining[];
  readonly serving: readonly ServePlan[];
  readonly defaults: ServePlan;
  /** That of the package, if it has one. */
  readonly tokenizer: Tokenizer | undefined;
  /** Whether it runs in browsers as well. */
  readonly browser: boolean;
}

/** `index.ts`, for browsers `browser.ts`, and the same as `index.js` and `index.d.ts` for whom does not compile them; `package.json` names them. */
export function indexFiles(source: IndexSource): Map<string, string> {
  const index = modules("index", indexText(source));
  const browser = source.browser ? modules("browser", browserText(source)) : [];
  const manifest = {
    name: packageName(source.model.name),
    version: "0.0.0",
    private: true,
    type: "module",
    exports: {
      ".": { types: "./index.d.ts", default: "./index.js" },
      ...(source.browser ? { "./browser": { types: "./browser.d.ts", default: "./browser.js" } } : {}),
      "./package.json": "./package.json",
    },
    peerDependencies: { dskc: "*" },
  };
  return new Map([...index, ...browser, ["package.json", `${JSON.stringify(manifest, undefined, 2)}\n`]]);
}

function modules(name: string, text: string): [string, string][] {
  return [
    [`${name}.ts`, text],
    [`${name}.js`, toJavaScript(text)],
    [`${name}.d.ts`, toDeclarations(text)],
  ];
}

/** The same model where there is no Node. */
function browserText({ model: { name }, serving }: IndexSource): string {
  return printTypeScript(
    [`The model ${name} in a browser.`, "", "Written by `dskc build`, which writes it anew: changes are lost."],
    [
      typesOf("dskc/browser", "dskc"),
      importOf("dskc/browser", ["openInBrowser"]),
      importTypesOf("./index.js", [`${name}Names`]),
      aliasOf(`${name}InBrowser`, "The model, loaded.", `dskc.BrowserModel<${name}Names>`),
      interfaceOf(
        `${name}LoadOptions`,
        "How it is loaded.",
        { "serve?": serveType(serving), "package?": "string | URL" },
        'Omit<dskc.LoadOptions, "serve">',
      ),
      asyncFunctionOf(
        "load",
        "Loads the model. `package` is the address of the package, which must be given where this file is not served from it: in bundles.",
        {
          name: '{ package: folder = import.meta.url.replace(/[^/]*$/, ""), ...options }',
          type: `${name}LoadOptions`,
          initializer: "{}",
        },
        `${name}InBrowser`,
        [`return openInBrowser<${name}Names>(folder, options);`],
      ),
    ],
  );
}

function serveType(serving: readonly ServePlan[]): string {
  return serving.length === 0 ? "never" : unionOf(serving.map((plan) => plan.name));
}

function indexText({ model, docs, dims, trainings, serving, defaults, tokenizer }: IndexSource): string {
  const { name } = model;
  const roles = rolesOf(tokenizer?.chat);
  const { context, temperature, topP, topK, draftTokens } = defaults;
  const head = docs.length === 0 ? [`The model ${name}.`] : docs;
  return printTypeScript(
    [...head, "", "Written by `dskc build`, which writes it anew: changes are lost."],
    [
      typesOf("dskc/runtime", "dskc"),
      importOf("dskc/runtime", ["openPackage"]),
      constantOf("dims", "Sizes of dims.", Object.fromEntries(dims)),
      constantOf(
        "params",
        "Shapes of params and states, row-major.",
        Object.fromEntries(model.stores.map((store) => [store.name, store.shape])),
      ),
      constantOf(
        "trainings",
        "Train sections: their losses, and the metrics that a step can give.",
        Object.fromEntries(trainings.map(({ name: own, losses, metrics }) => [own, { losses, metrics }])),
      ),
      constantOf("defaults", "What holds where nobody says anything else.", {
        context,
        temperature,
        topP,
        topK,
        draftTokens,
      }),
      ...chatOf(tokenizer, roles),
      interfaceOf(`${name}Names`, "What is special about this model, for types.", {
        params: "typeof params",
        trainings: "dskc.TrainingNamesOf<typeof trainings>",
        roles: roles.length === 0 ? "string" : unionOf(roles),
      }),
      aliasOf(name, "The model, loaded.", `dskc.Model<${name}Names>`),
      interfaceOf(
        `${name}Options`,
        "How it is loaded.",
        {
          "serve?": serveType(serving),
          "directory?": "string",
        },
        'Omit<dskc.OpenOptions, "serve">',
      ),
      asyncFunctionOf(
        "load",
        "Loads the model. `directory` is the folder of the package, which must be given where this file is not in it: in bundles.",
        { name: "{ directory = import.meta.dirname, ...options }", type: `${name}Options`, initializer: "{}" },
        name,
        [`return openPackage<${name}Names>(directory, options);`],
      ),
    ],
  );
}

function chatOf(tokenizer: Tokenizer | undefined, roles: readonly string[]): Statement[] {
  if (tokenizer?.chat === undefined) return [];
  const { bos, eos, chat } = tokenizer;
  return [constantOf("chat", "How conversations become text.", { roles, bos, eos, template: chat.source })];
}

function unionOf(names: readonly string[]): string {
  return names.map((name) => JSON.stringify(name)).join(" | ");
}

/** Roles that templates may know. */
const ROLES = ["system", "user", "assistant", "tool"] as const;

/** The roles that a template takes: first, behind a question, or behind an answer. None when it is stricter than that. */
function rolesOf(chat: ChatTemplate | undefined): readonly string[] {
  if (chat === undefined) return [];
  const [question, answer] = [
    { role: "user", content: "?" },
    { role: "assistant", content: "!" },
  ];
  return ROLES.filter((role) =>
    [[], [question], [question, answer]].some((before) => {
      try {
        return chat.render([...before, { role, content: "text" } as Message] as Message[]).includes("text");
      } catch {
        return false;
      }
    }),
  );
}

/** `DeepSeekV3` is `deep-seek-v3`. */
function packageName(model: string): string {
  return model
    .replaceAll(/([a-z0-9])([A-Z])/g, "$1-$2")
    .replaceAll("_", "-")
    .toLowerCase();
}
