// Runs @ton/sandbox's emulator in a bare V8: no Node, no browser. Defines what the emscripten module
// looks for, then the four calls that ton/tvm/emulator.py makes. Strings go in and come out as C strings.

globalThis.self = globalThis;
globalThis.console = { log() {}, warn() {}, error() {} };
globalThis.performance = { now: () => Date.now() };
// The emulator takes its randomness from its callers; nothing secret is made in here.
globalThis.crypto = {
  getRandomValues(bytes) {
    for (let at = 0; at < bytes.length; at++) bytes[at] = (Math.random() * 256) | 0;
    return bytes;
  },
};
// What the emulator reads and writes is ASCII: base64 and JSON. Other bytes appear in logs alone.
globalThis.TextDecoder = class {
  decode(bytes) {
    const parts = [];
    for (let at = 0; at < bytes.length; at += 8192) {
      parts.push(String.fromCharCode.apply(null, bytes.subarray(at, at + 8192)));
    }
    return parts.join("");
  }
};

const tvm = { module: null, error: null, emulator: 0 };

function start(makeModule, binary) {
  makeModule({
    wasmBinary: binary,
    instantiateWasm(imports, ready) {
      const module = new WebAssembly.Module(binary);
      const instance = new WebAssembly.Instance(module, imports);
      ready(instance, module);
      return instance.exports;
    },
    onAbort(why) {
      tvm.error = `aborted: ${why}`;
    },
  }).then(
    (module) => {
      tvm.module = module;
    },
    (error) => {
      tvm.error = String(error);
    },
  );
}

function state() {
  return tvm.error ?? (tvm.module ? "ready" : "starting");
}

function toC(text) {
  const size = tvm.module.lengthBytesUTF8(text) + 1;
  const pointer = tvm.module._malloc(size);
  tvm.module.stringToUTF8(text, pointer, size);
  return pointer;
}

function call(name, ...values) {
  const held = values.map((value) => (typeof value === "string" ? toC(value) : 0));
  const pointers = values.map((value, at) => (typeof value === "string" ? held[at] : value));
  try {
    return tvm.module[name](...pointers);
  } finally {
    for (const pointer of held) if (pointer) tvm.module._free(pointer);
  }
}

function fromC(pointer) {
  const text = tvm.module.UTF8ToString(pointer);
  tvm.module._free(pointer);
  return text;
}

function version() {
  return fromC(call("_version"));
}

// Get methods take the configuration's text each time: it stays where they read it.
function configure(config) {
  tvm.emulator = call("_create_emulator", config, 0);
  tvm.config = toC(config);
  return tvm.emulator !== 0;
}

function transact(shardAccount, message, parameters) {
  return fromC(
    call("_emulate_with_emulator", tvm.emulator, 0, shardAccount, message, parameters),
  );
}

function getMethod(parameters, stack) {
  return fromC(call("_run_get_method", parameters, stack, tvm.config));
}
