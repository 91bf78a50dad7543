import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { closest, didYouMean } from "../../compiler/diagnostics/did-you-mean.ts";
import type { SourceFile } from "../../compiler/diagnostics/source.ts";
import type * as ast from "../syntax/ast.ts";
import { parseFile } from "../syntax/parse.ts";
import { BUILT_IN_DIMS, checkNames, isBuiltInDim } from "./built-in-dims.ts";

/** A block and the file that declares it. */
interface Declared {
  readonly decl: ast.BlockDecl;
  readonly scope: FileScope;
}

/** The names that a file's own declarations and imports give it. */
export interface FileScope {
  readonly file: ast.File;
  readonly blocks: Map<string, Declared>;
  readonly models: Map<string, ast.ModelDecl>;
  /** Imports that nothing referred to so far. */
  readonly unused: Map<string, ast.Name>;
  /** Names whose import failed: what uses them is not an error of its own. */
  readonly broken: Set<string>;
}

/** The directory that holds `dsl/std`: found upwards from this module, from source and from the bundle alike. */
export function packageRoot(): string {
  let dir = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(dir, "dsl", "std"))) {
    const up = dirname(dir);
    if (up === dir) throw new Error("the standard library is missing from the installation");
    dir = up;
  }
  return dir;
}

const DIRECTORY = "it is a directory";

function isFolder(path: string): boolean {
  return existsSync(path) && statSync(path).isDirectory();
}

/** What stands in a file that is there, or why it cannot be read. */
function textOf(path: string): { readonly text: string } | { readonly why: string } {
  try {
    if (!statSync(path).isFile()) return { why: isFolder(path) ? DIRECTORY : "it is no file" };
    return { text: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(readFileSync(path)) };
  } catch (error) {
    return { why: error instanceof TypeError ? "it is not UTF-8 text" : "permission denied" };
  }
}

/** Reads and parses files, each once, and resolves their imports. */
export class Loader {
  readonly #diagnostics: Diagnostics;
  readonly #scopes = new Map<string, FileScope | "loading">();
  readonly std: string;
  /** Files of the standard library that can be imported: `nn`, `moe`. */
  readonly #libraries: readonly string[];
  /** Blocks that contain each other, by their names: told once, whichever of them is looked at. */
  readonly cycles = new Set<string>();
  /** A chain of blocks was found that is too long: it is told of its first block, not of each that is too far from the end. */
  tooDeep = false;

  constructor(diagnostics: Diagnostics) {
    this.#diagnostics = diagnostics;
    this.std = join(packageRoot(), "dsl", "std");
    const files = readdirSync(this.std).filter((name) => name.endsWith(".dsk"));
    this.#libraries = files.map((name) => name.slice(0, -".dsk".length)).toSorted();
  }

  /** The scope of a file and everything it imports. Errors are reported; the scope holds what is sound. */
  load(source: SourceFile, path: string = resolve(source.path)): FileScope {
    return this.#load(source, existsSync(path) ? realpathSync(path) : path, [source.path]);
  }

  /** All files that were loaded without a cycle. */
  get files(): FileScope[] {
    return [...this.#scopes.values()].filter((s) => s !== "loading");
  }

  /** A file of the standard library that the language itself needs. */
  standard(name: string): FileScope {
    const path = join(this.std, `${name}.dsk`);
    const known = this.#scopes.get(realpathSync(path));
    if (known !== undefined && known !== "loading") return known;
    return this.#load({ path: `std/${name}.dsk`, text: readFileSync(path, "utf8") }, realpathSync(path), [
      `std/${name}`,
    ]);
  }

  #load(source: SourceFile, key: string, chain: readonly string[]): FileScope {
    const { file } = parseFile(source, this.#diagnostics);
    const scope: FileScope = {
      file,
      blocks: new Map(),
      models: new Map(),
      unused: new Map(),
      broken: new Set(file.broken.map((n) => n.text)),
    };
    this.#scopes.set(key, "loading");
    const meant = new Map<string, Declared>();
    for (const item of file.imports) this.#import(item, key, chain, scope, meant);
    for (const decl of file.decls) {
      if (decl.kind !== "block" && decl.kind !== "model") continue;
      const name = decl.name.text;
      if (isBuiltInDim(name)) {
        this.#diagnostics.report("DSK1008", decl.name.span, { name }, { help: BUILT_IN_DIMS });
        scope.broken.add(name);
        continue;
      }
      const other = scope.blocks.get(name)?.decl ?? scope.models.get(name);
      if (other !== undefined) {
        this.#diagnostics.report(
          "DSK1002",
          decl.name.span,
          { name },
          {
            secondary: [{ span: other.name.span, text: "first declared here" }],
          },
        );
      } else if (decl.kind === "block") scope.blocks.set(name, { decl, scope });
      else scope.models.set(name, decl);
    }
    for (const [name, block] of meant)
      if (!scope.blocks.has(name) && !scope.models.has(name) && !scope.broken.has(name)) scope.blocks.set(name, block);
    checkNames(file, this.#diagnostics);
    this.#scopes.set(key, scope);
    return scope;
  }

  /** The part of the standard library that has a block of this name. */
  standardHome(name: string): string | undefined {
    const found = this.#libraries.find((each) => {
      const text = readFileSync(join(this.std, `${each}.dsk`), "utf8");
      return [..." [({"].some((next) => text.includes(`\nblock ${name}${next}`));
    });
    return found === undefined ? undefined : `std/${found}`;
  }

  /** The blocks of a part of the standard library. */
  blocksOf(home: string): string[] {
    const text = readFileSync(join(this.std, `${home.slice("std/".length)}.dsk`), "utf8");
    return [...text.matchAll(/^block (\w+)/gm)].map(([, name]) => name!).toSorted();
  }

  #libraryHelp(from: string): string {
    const names = this.#libraries.map((name) => `std/${name}`);
    return this.#nearLibrary(from) ?? `the standard library has ${names.join(", ")}`;
  }

  #nearLibrary(from: string): string | undefined {
    return didYouMean(
      from,
      this.#libraries.map((name) => `std/${name}`),
    );
  }

  /** @param meant takes what misspelt names stand for, under the names that the file may use for them */
  #import(
    item: ast.Import,
    importer: string,
    chain: readonly string[],
    scope: FileScope,
    meant: Map<string, Declared>,
  ): void {
    const from = item.from.value;
    const file = from.endsWith(".dsk") ? from : `${from}.dsk`;
    const standard = from.startsWith("std/");
    const path = standard ? join(this.std, file.slice(4)) : resolve(dirname(importer), file);
    const shown = standard ? file : join(dirname(scope.file.source.path), file);
    const fail = (why: string | undefined, help: string): void => {
      this.#diagnostics.report("DSK1004", item.from.span, { from, ...(why === undefined ? {} : { why }) }, { help });
      for (const { name, as } of item.names) scope.broken.add((as ?? name).text);
    };
    if (standard && !this.#libraries.includes(from.slice(4).replace(/\.dsk$/, "")))
      return fail(undefined, this.#libraryHelp(from));
    const folder = !standard && from !== "" && isFolder(path.slice(0, -".dsk".length));
    if (!existsSync(path) && !folder)
      return fail(undefined, this.#nearLibrary(from) ?? "paths are relative to the importing file");
    const text = existsSync(path) ? textOf(path) : { why: DIRECTORY };
    if ("why" in text) return fail(text.why, "an import names one file of dsk text");
    const key = realpathSync(path);
    let target = this.#scopes.get(key);
    if (target === "loading") {
      this.#diagnostics.report("DSK1005", item.from.span, { chain: [...chain, from].join(" -> ") });
      for (const { name, as } of item.names) scope.broken.add((as ?? name).text);
      return;
    }
    target ??= this.#load({ path: shown, text: text.text }, key, [...chain, from]);
    for (const { name, as } of item.names) {
      const own = [...target.blocks].filter(([, b]) => b.scope === target).map(([n]) => n);
      const block = own.includes(name.text) ? target.blocks.get(name.text) : undefined;
      const local = as ?? name;
      if (block === undefined) {
        if (target.broken.has(name.text)) {
          scope.broken.add(local.text);
          continue;
        }
        const home = this.#diagnostics.isCrowded ? undefined : this.standardHome(name.text);
        const near = closest(name.text, own);
        const help =
          home !== undefined
            ? `\`${name.text}\` is in \`${home}\``
            : near.length > 0
              ? `did you mean \`${near.join("`, `")}\`?`
              : undefined;
        this.#diagnostics.report("DSK1003", name.span, { name: name.text, from }, help === undefined ? {} : { help });
        const guess = home === undefined && near.length === 1 ? target.blocks.get(near[0]!) : undefined;
        if (guess === undefined) scope.broken.add(local.text);
        else for (const each of as === undefined ? [near[0]!, name.text] : [as.text]) meant.set(each, guess);
      } else if (scope.blocks.has(local.text)) {
        // One line that is there twice is one mistake.
        const about = scope.blocks.get(local.text) === block ? { about: `import ${item.span.start}` } : {};
        this.#diagnostics.report("DSK1002", local.span, { name: local.text }, about);
      } else {
        scope.blocks.set(local.text, block);
        scope.unused.set(local.text, local);
      }
    }
  }
}
