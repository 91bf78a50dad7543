/** Handlebars, in one place: skeletons of generated files. Arithmetic and conditions belong to the views, not to templates. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import Handlebars from "handlebars";

const environment = Handlebars.create();
environment.registerHelper("indent", (text: unknown) =>
  String(text)
    .split("\n")
    .map((line) => (line === "" ? "" : `  ${line}`))
    .join("\n")
    .trimEnd(),
);

const compiled = new Map<string, Handlebars.TemplateDelegate>();

/**
 * Fills a template of `templates/`.
 * @param view plain data; a name that the template uses and the view lacks is an error
 */
export function render(template: string, view: Readonly<Record<string, unknown>>): string {
  let fill = compiled.get(template);
  if (fill === undefined) {
    fill = environment.compile(readFileSync(join(templates(), `${template}.hbs`), "utf8"), {
      noEscape: true,
      strict: true,
      knownHelpersOnly: true,
      knownHelpers: { indent: true },
    });
    compiled.set(template, fill);
  }
  return fill(view);
}

/** The text of a file of `templates/` that is copied as it is. */
export function fixed(file: string): string {
  return readFileSync(join(templates(), file), "utf8");
}

function templates(): string {
  let dir = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(dir, "templates", "cpu"))) {
    const up = dirname(dir);
    if (up === dir) throw new Error("the templates are missing from the installation");
    dir = up;
  }
  return join(dir, "templates");
}
