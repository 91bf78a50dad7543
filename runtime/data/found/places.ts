/** Where machines keep English text: with Node, with Debian's packages, with compilers and interpreters. */
import { dirname, join } from "node:path";
import type { Form } from "./forms.ts";

export interface Place {
  /** How reports name it. */
  readonly name: string;
  readonly folder: string;
  /** Patterns of paths below the folder. */
  readonly files: readonly string[];
  readonly not?: readonly string[];
  readonly form: Form;
}

/** Lists of changes and of names are no prose. */
const LISTS = ["**/*[Cc]hange*", "**/*CHANGE*", "**/{HISTORY,NEWS,AUTHORS,THANKS}*", "**/[Cc]opyright*"];

/**
 * In the order in which text is taken: what is written for reading first, comments of code last.
 * @param packages folders of packages of npm
 */
export function places(packages: readonly string[]): Place[] {
  const prefix = dirname(dirname(process.execPath));
  const prefixes = [...new Set([prefix, "/usr", "/usr/local"])];
  const markdown = (name: string, folder: string, ...files: string[]): Place => {
    return { name, folder, files, not: LISTS, form: "markdown" };
  };
  const each = (folders: readonly string[], place: Omit<Place, "folder">): Place[] =>
    folders.map((folder) => ({ ...place, folder }));
  const below = (path: string): string[] => prefixes.map((root) => join(root, path));
  return [
    ...below("share/doc").map((folder) => markdown("documentation of Node", folder, "node*/**/*.md")),
    ...below("lib/node_modules").map((folder) => markdown("documentation of npm", folder, "**/*.md")),
    markdown("documentation of Node", prefix, "README.md"),
    ...each(
      [
        "/usr/share/perl",
        "/usr/share/perl5",
        ...below("lib/x86_64-linux-gnu/perl"),
        ...below("lib/aarch64-linux-gnu/perl"),
      ],
      {
        name: "documentation of Perl",
        files: ["**/*.{pod,pm,pl}"],
        form: "pod",
      },
    ),
    markdown("documentation of packages", "/usr/share/doc", "**/*.md", "**/*.md.gz"),
    {
      name: "documentation of packages",
      folder: "/usr/share/doc",
      files: ["**/*.{txt,rst}", "**/*.{txt,rst}.gz", "**/{README,FAQ,INSTALL}*"],
      not: [...LISTS, "**/*.html*"],
      form: "plain",
    },
    ...each(below("lib"), { name: "reference of Python", files: ["python3*/pydoc_data/topics.py"], form: "topics" }),
    { name: "handbooks", folder: "/usr/share/info", files: ["*.info*"], form: "plain" },
    { name: "help of Vim", folder: "/usr/share/vim", files: ["vim*/doc/*.txt"], form: "plain" },
    ...packages.map((folder) => markdown("readmes of npm packages", folder, "**/*.md")),
    { name: "licenses", folder: "/usr/share/common-licenses", files: ["*"], form: "plain" },
    ...each(below("lib"), {
      name: "descriptions in Python",
      files: ["python3*/**/*.py"],
      not: ["**/test*/**", "**/pydoc_data/**"],
      form: "python",
    }),
    ...each(packages, { name: "descriptions in npm packages", files: ["**/*.d.{ts,mts}"], form: "comments" }),
    ...each(below("include"), {
      name: "descriptions in headers",
      files: ["{node,c++}/**/*", "**/*.h"],
      form: "comments",
    }),
    { name: "licenses", folder: "/usr/share/doc", files: ["*/copyright"], form: "plain" },
  ];
}
