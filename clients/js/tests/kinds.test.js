import assert from "node:assert/strict";
import { test } from "node:test";

import { list, object, text, truth, whole } from "../src/streamd/kinds.js";

const VALUES = { text: "secret", whole: 7, truth: false, list: [1], object: { a: 1 } };
const READ = { text, whole, truth, list, object };

test("what is of the kind is returned, all else refused by its name alone", () => {
  for (const [kind, read] of Object.entries(READ)) {
    for (const [other, value] of [...Object.entries(VALUES), ["null", null], ["half", 0.5]]) {
      if (kind === other) {
        assert.equal(read(value, "cursor"), value);
      } else {
        assert.throws(() => read(value, "cursor"), {
          name: "ProtocolError",
          message: /^the server sent a message of an unknown form: cursor is n[^:{}]+$/,
        });
      }
    }
  }
});
