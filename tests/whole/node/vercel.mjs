// Asks a server through the Vercel AI SDK, each provider package against each model, and prints what came as JSON.
// Environment: PACKAGES (a folder with node_modules), URL, KEY, MODELS (comma-separated).
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(process.env.PACKAGES + '/package.json');
const load = (name) => import(pathToFileURL(require.resolve(name)).href);

const { generateObject, generateText, stepCountIs, streamText, tool, embed } = await load('ai');
const { z } = await load('zod');
const { createOpenAI } = await load('@ai-sdk/openai');
const { createOpenAICompatible } = await load('@ai-sdk/openai-compatible');
const { createAnthropic } = await load('@ai-sdk/anthropic');
const { createGoogleGenerativeAI } = await load('@ai-sdk/google');

globalThis.AI_SDK_LOG_WARNINGS = false;
const { URL: url, KEY: apiKey } = process.env;
const openai = createOpenAI({ baseURL: `${url}/v1`, apiKey });
const compatible = createOpenAICompatible({
  name: 'ours', baseURL: `${url}/v1`, apiKey, includeUsage: true, supportsStructuredOutputs: true,
});
const anthropic = createAnthropic({ baseURL: `${url}/v1`, apiKey });
const google = createGoogleGenerativeAI({ baseURL: `${url}/v1beta`, apiKey });
const packages = {
  openai: (model) => openai.chat(model),
  compatible: (model) => compatible(model),
  anthropic: (model) => anthropic(model),
  google: (model) => google(model),
};
const tools = {
  look_up: tool({
    description: 'Looks a city up',
    inputSchema: z.object({ city: z.string() }),
    execute: async ({ city }) => `${city} it is`,
  }),
};
const said = async (steps, text, usage) => ({
  text,
  calls: steps.flatMap((step) => step.toolCalls.map((call) => [call.toolName, call.input])),
  finish: steps.map((step) => step.finishReason),
  usage: [usage.inputTokens, usage.outputTokens],
});

const out = [];
for (const [name, make] of Object.entries(packages)) {
  for (const model of process.env.MODELS.split(',')) {
    const asked = { model: make(model), tools, prompt: 'please call look_up', stopWhen: stepCountIs(3), maxRetries: 0 };
    const whole = await generateText(asked);
    out.push({ name, model, way: 'whole', ...(await said(whole.steps, whole.text, whole.usage)) });
    const errors = [];
    const stream = streamText({ ...asked, onError: ({ error }) => errors.push(String(error)) });
    let text = '';
    for await (const piece of stream.textStream) text += piece;
    if (errors.length) throw new Error(`${name} ${model}: ${errors}`);
    out.push({ name, model, way: 'stream', ...(await said(await stream.steps, text, await stream.usage)) });
    const { object } = await generateObject({
      model: make(model), schema: z.object({ city: z.string() }), prompt: 'where?', maxRetries: 0,
    });
    out.push({ name, model, way: 'object', object });
  }
}
const { embedding } = await embed({ model: openai.embeddingModel('openai/e-1'), value: 'one', maxRetries: 0 });
out.push({ way: 'embedding', embedding });
let refusal;
try {
  await generateText({ model: openai.chat('openai/no'), prompt: 'fail 400', maxRetries: 0 });
} catch (error) {
  refusal = [error.name, error.statusCode, error.message];
}
out.push({ way: 'refusal', refusal });
console.log(JSON.stringify(out));
