/**
 * ts-morph, in one place: whole files from one list of statements, never edited afterwards. (Adding functions one by one costs a
 * hundred times as much, formatting what is written ten times.)
 */
import {
  type CodeBlockWriter,
  IndentationText,
  Project,
  type StatementStructures,
  StructureKind,
  ts,
  type WriterFunction,
} from "ts-morph";

export type Statement = StatementStructures | WriterFunction;

/** The longest line of an object or list in one line. */
const WIDTH = 120;

/** `import { a } from "module";` */
export function importOf(module: string, names: readonly string[]): Statement {
  return { kind: StructureKind.ImportDeclaration, moduleSpecifier: module, namedImports: [...names] };
}

/** `import type * as name from "module";` */
export function typesOf(module: string, name: string): Statement {
  return { kind: StructureKind.ImportDeclaration, moduleSpecifier: module, namespaceImport: name, isTypeOnly: true };
}

/** `import type { A } from "module";` */
export function importTypesOf(module: string, names: readonly string[]): Statement {
  return {
    kind: StructureKind.ImportDeclaration,
    moduleSpecifier: module,
    namedImports: [...names],
    isTypeOnly: true,
  };
}

/** `export const name = value as const;`, of plain data. */
export function constantOf(name: string, docs: string, value: unknown): Statement {
  return (writer) => {
    const head = `export const ${name} = `;
    writer.newLine().writeLine(`/** ${docs} */`).write(head);
    writeLiteral(writer, value, `${head} as const;`.length);
    writer.write(" as const;").newLine();
  };
}

/** `export interface name extends base { readonly property: type; }`; names may end in `?`. */
export function interfaceOf(
  name: string,
  docs: string,
  properties: Readonly<Record<string, string>>,
  base?: string,
): Statement {
  return {
    kind: StructureKind.Interface,
    isExported: true,
    name,
    docs: [docs],
    ...(base === undefined ? {} : { extends: [base] }),
    properties: Object.entries(properties).map(([key, type]) => ({ name: key, type, isReadonly: true })),
  };
}

/** `export type name = type;` */
export function aliasOf(name: string, docs: string, type: string): Statement {
  return { kind: StructureKind.TypeAlias, isExported: true, name, docs: [docs], type };
}

/** `export async function name(parameter: type = initializer): Promise<result> { ... }` */
export function asyncFunctionOf(
  name: string,
  docs: string,
  parameter: { readonly name: string; readonly type: string; readonly initializer: string },
  result: string,
  lines: readonly string[],
): Statement {
  return {
    kind: StructureKind.Function,
    isExported: true,
    isAsync: true,
    name,
    docs: [docs],
    parameters: [parameter],
    returnType: `Promise<${result}>`,
    statements: (writer) => lines.forEach((line) => writer.writeLine(line)),
  };
}

/** The text of a file. `head` is the comment that it begins with. */
export function printTypeScript(head: readonly string[], statements: readonly Statement[]): string {
  const project = new Project({
    useInMemoryFileSystem: true,
    skipLoadingLibFiles: true,
    manipulationSettings: { indentationText: IndentationText.TwoSpaces },
  });
  const comment = ["/**", ...head.map((line) => ` * ${line}`.trimEnd()), " */", ""].join("\n");
  return project.createSourceFile("index.ts", { statements: [comment, ...statements] }).getFullText();
}

const OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext,
  verbatimModuleSyntax: true,
  isolatedDeclarations: true,
  declaration: true,
};

/** A file without its types. */
export function toJavaScript(text: string): string {
  return ts.transpileModule(text, { compilerOptions: OPTIONS }).outputText;
}

/** The types of a file alone. @throws Error when they are not written out */
export function toDeclarations(text: string): string {
  const { outputText, diagnostics = [] } = ts.transpileDeclaration(text, { compilerOptions: OPTIONS });
  const [first] = diagnostics;
  if (first !== undefined) throw new Error(ts.flattenDiagnosticMessageText(first.messageText, "\n"));
  return outputText;
}

/** Plain data as TypeScript has it, in one line where it fits behind `before` characters. */
function writeLiteral(writer: CodeBlockWriter, value: unknown, before: number): void {
  const line = inLine(value);
  const isPlain = typeof value !== "object" || value === null;
  if (isPlain || before + line.length + 2 * writer.getIndentationLevel() <= WIDTH) {
    writer.write(line);
    return;
  }
  const entries = Array.isArray(value) ? value.map((item) => ["", item] as const) : namedEntries(value);
  const [open, close] = Array.isArray(value) ? ["[", "]"] : ["{", "}"];
  writer.write(open).newLine();
  writer.indent(() => {
    for (const [key, item] of entries) {
      writer.write(key);
      writeLiteral(writer, item, key.length + 1);
      writer.write(",").newLine();
    }
  });
  writer.write(close);
}

function inLine(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(inLine).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const entries = namedEntries(value).map(([key, item]) => key + inLine(item));
  return entries.length === 0 ? "{}" : `{ ${entries.join(", ")} }`;
}

function namedEntries(value: object): (readonly [string, unknown])[] {
  return Object.entries(value).map(([key, item]) => {
    const name = /^[A-Za-z_$][\w$]*$/.test(key) ? key : JSON.stringify(key);
    return [`${name}: `, item] as const;
  });
}
