import { defineConfig } from "vite";

export default defineConfig({
  // Addresses are relative, so that the page can lie in any folder of a server.
  base: "./",
  // The runtime is a module already, and finds its worker beside itself.
  optimizeDeps: { exclude: ["dskc"] },
  worker: { format: "es" },
  // The runtime lies outside of this folder while it is linked.
  server: { fs: { allow: ["../.."] } },
});
