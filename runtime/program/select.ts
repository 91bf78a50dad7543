import type { LaunchProgram } from "./launch.ts";

/** Programs by the names that somebody wants to call them. @throws Error when there is none */
export function selectPrograms(
  programs: readonly LaunchProgram[],
  wanted: Readonly<Record<string, string>>,
): readonly LaunchProgram[] {
  return Object.entries(wanted).map(([name, own]) => {
    const found = programs.find((program) => program.name === own);
    if (found === undefined) throw new Error(`there is no program ${own}`);
    return { ...found, name };
  });
}
