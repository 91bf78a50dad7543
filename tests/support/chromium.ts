/** Chromium without a window, with WebGPU on its driver in software. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BrowserContext, chromium } from "playwright-core";

const EXECUTABLE = "/usr/bin/chromium";

export const HAS_CHROMIUM = existsSync(EXECUTABLE);

const FLAGS = [
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
  // Zeros of workgroup memory take long to compile otherwise.
  "--disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension",
];

export interface Browser {
  readonly context: BrowserContext;
  close(): Promise<void>;
}

/** A browser of its own, with nothing kept from others. */
export async function openChromium(flags: readonly string[] = FLAGS): Promise<Browser> {
  const profile = mkdtempSync(join(tmpdir(), "dskc-chromium-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: EXECUTABLE,
    headless: true,
    chromiumSandbox: false,
    args: [...flags],
  });
  return {
    context,
    close: async () => {
      await context.close();
      rmSync(profile, { recursive: true, force: true });
    },
  };
}
