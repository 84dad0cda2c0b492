import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdtemp, readdir, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const HERE = fileURLToPath(new URL("..", import.meta.url));

test("the package holds the modules, their types, README and licence, and nothing else", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "streamd-client-"));
  t.after(() => rm(folder, { recursive: true }));
  const filter = (/** @type {string} */ path) =>
    !["node_modules", "types"].includes(basename(path));
  await cp(HERE, folder, { recursive: true, filter });
  await symlink(join(HERE, "node_modules"), join(folder, "node_modules"));
  const { stdout } = await promisify(execFile)("npm", ["pack", "--dry-run", "--json"], {
    cwd: folder,
  });
  const [{ files }] = JSON.parse(stdout.slice(stdout.indexOf("[\n")));
  const sources = await readdir(join(HERE, "src"), { recursive: true });
  const modules = sources.filter((path) => path.endsWith(".js"));
  assert.deepEqual(
    files.map((/** @type {{path: string}} */ { path }) => path).sort(),
    [
      "LICENSE",
      "README.md",
      "package.json",
      ...modules.map((path) => `src/${path}`),
      ...modules.map((path) => `types/${path.replace(/js$/, "d.ts")}`),
    ].sort(),
  );
});

test("the types need no browser, and are understood without checks left out", async (t) => {
  const folder = await mkdtemp(join(HERE, ".types-"));
  t.after(() => rm(folder, { recursive: true }));
  const tsc = join(HERE, "node_modules/typescript/bin/tsc");
  const run = promisify(execFile);
  const made = ["--project", join(HERE, "tsconfig.types.json"), "--outDir", folder];
  await run(process.execPath, [tsc, ...made]);
  await run(process.execPath, [
    tsc,
    ...["--strict", "--noEmit", "--target", "es2022", "--lib", "es2022", "--types", "node"],
    ...["--module", "nodenext", join(folder, "streamd.d.ts")],
  ]);
});

test("every module has a test of its name", async () => {
  const modules = await readdir(join(HERE, "src/streamd"));
  const tests = await readdir(join(HERE, "tests"));
  for (const module of modules) {
    assert.ok(tests.includes(module.replace(/js$/, "test.js")), module);
  }
});
