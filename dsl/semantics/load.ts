import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Diagnostics } from "../../compiler/diagnostics/diagnostic.ts";
import { closest } from "../../compiler/diagnostics/did-you-mean.ts";
import type { SourceFile } from "../../compiler/diagnostics/source.ts";
import type * as ast from "../syntax/ast.ts";
import { parseFile } from "../syntax/parse.ts";

/** The names that a file's own declarations and imports give it. */
export interface FileScope {
  readonly file: ast.File;
  readonly blocks: Map<string, { readonly decl: ast.BlockDecl; readonly scope: FileScope }>;
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

export const BUILT_IN_DIMS = "T is the tokens of a call, S the positions kept, B the sequences";

/** Reads and parses files, each once, and resolves their imports. */
export class Loader {
  readonly #diagnostics: Diagnostics;
  readonly #scopes = new Map<string, FileScope | "loading">();
  readonly std: string;
  /** Blocks that contain each other, by their names: told once, whichever of them is looked at. */
  readonly cycles = new Set<string>();

  constructor(diagnostics: Diagnostics) {
    this.#diagnostics = diagnostics;
    this.std = join(packageRoot(), "dsl", "std");
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
    for (const item of file.imports) this.#import(item, key, chain, scope);
    for (const decl of file.decls) {
      if (decl.kind !== "block" && decl.kind !== "model") continue;
      const name = decl.name.text;
      if (name === "T" || name === "S" || name === "B") {
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
    this.#scopes.set(key, scope);
    return scope;
  }

  /** The part of the standard library that has a block of this name. */
  #standardHome(name: string): string | undefined {
    const files = readdirSync(this.std).filter((file) => file.endsWith(".dsk"));
    const declares = new RegExp(`^block ${name}\\b`, "m");
    const file = files.find((each) => declares.test(readFileSync(join(this.std, each), "utf8")));
    return file === undefined ? undefined : `std/${file.slice(0, -".dsk".length)}`;
  }

  #import(item: ast.Import, importer: string, chain: readonly string[], scope: FileScope): void {
    const from = item.from.value;
    const file = from.endsWith(".dsk") ? from : `${from}.dsk`;
    const standard = from.startsWith("std/");
    const path = standard ? join(this.std, file.slice(4)) : resolve(dirname(importer), file);
    const shown = standard ? file : join(dirname(scope.file.source.path), file);
    if (!existsSync(path)) {
      this.#diagnostics.report(
        "DSK1004",
        item.from.span,
        { from },
        {
          help: standard
            ? "the standard library has std/nn, std/rope, std/attention, std/moe, std/mtp, std/optim"
            : "paths are relative to the importing file",
        },
      );
      for (const { name, as } of item.names) scope.broken.add((as ?? name).text);
      return;
    }
    const key = realpathSync(path);
    let target = this.#scopes.get(key);
    if (target === "loading") {
      this.#diagnostics.report("DSK1005", item.from.span, { chain: [...chain, from].join(" -> ") });
      for (const { name, as } of item.names) scope.broken.add((as ?? name).text);
      return;
    }
    target ??= this.#load({ path: shown, text: readFileSync(path, "utf8") }, key, [...chain, from]);
    for (const { name, as } of item.names) {
      const own = [...target.blocks].filter(([, b]) => b.scope === target).map(([n]) => n);
      const block = own.includes(name.text) ? target.blocks.get(name.text) : undefined;
      const local = as ?? name;
      if (block === undefined) {
        scope.broken.add(local.text);
        const home = this.#standardHome(name.text);
        const near = closest(name.text, own);
        const help =
          home !== undefined
            ? `\`${name.text}\` is in \`${home}\``
            : near.length > 0
              ? `did you mean \`${near.join("`, `")}\`?`
              : undefined;
        this.#diagnostics.report("DSK1003", name.span, { name: name.text, from }, help === undefined ? {} : { help });
      } else if (scope.blocks.has(local.text)) {
        this.#diagnostics.report("DSK1002", local.span, { name: local.text });
      } else {
        scope.blocks.set(local.text, block);
        scope.unused.set(local.text, local);
      }
    }
  }
}
