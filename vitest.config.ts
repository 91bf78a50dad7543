import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    globalSetup: ["tests/support/build-cli.ts"],
    testTimeout: 60_000,
    maxWorkers: 2,
  },
});
