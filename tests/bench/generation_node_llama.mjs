// One side of tests/bench/interop: llama.cpp inside the package node-llama-cpp.
// Arguments: FOLDER_OF_PACKAGES FILE.gguf THREADS ROUNDS PROMPT_TOKENS TOKENS.
import path from "node:path";
import {pathToFileURL} from "node:url";

const [packages, file, ...numbers] = process.argv.slice(2);
const [threads, rounds, promptTokens, numTokens] = numbers.map(Number);
const entry = path.join(packages, "node_modules", "node-llama-cpp", "dist", "index.js");
const {getLlama, LlamaLogLevel} = await import(pathToFileURL(entry).href);

const llama = await getLlama({gpu: false, build: "never", logLevel: LlamaLogLevel.disabled, maxThreads: threads});
const model = await llama.loadModel({modelPath: file});
const context = await model.createContext({contextSize: promptTokens + numTokens + 1, batchSize: promptTokens, threads});
const sequence = context.getSequence();
const prompt = Array.from({length: promptTokens}, (_, i) => (i * i * 7 + i * 31 + 65) % 256);
const best = {prefill: 0, generation: 0, tokens: [], first_prefill: 0};
for (let round = 0; round < rounds; ++round) {
    await sequence.clearHistory();
    const start = performance.now();
    const generated = sequence.evaluate(prompt, {temperature: 0});
    best.tokens = [(await generated.next()).value];
    const read = performance.now();
    for (let i = 0; i < numTokens; ++i) best.tokens.push((await generated.next()).value);
    const end = performance.now();
    const prefill = (1000 * promptTokens) / (read - start);
    best.first_prefill ||= prefill;
    best.prefill = Math.max(best.prefill, prefill);
    best.generation = Math.max(best.generation, (1000 * numTokens) / (end - read));
}
console.log(JSON.stringify(best));
process.exit(0);
