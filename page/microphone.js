// The recorder: sends the microphone's samples to the program on this computer and shows what comes back.
// Gradio runs this with `element` (the recorder's own HTML), `props.value` (the token of this page's desk) and `trigger`.
// While one message is on its way, new samples are kept for the next one, so that none is lost and none waits long.

const button = () => element.querySelector("button");
const place = (name) => element.querySelector(`.${name}`);
let sound = null; // what stays open while a recording lasts

function write(name, text) {
  if (place(name).textContent !== text) place(name).textContent = text; // a screen reader reads only what is new
}

async function ask(way, body) {
  const answer = await fetch(`/recording/${props.value}/${way}`, { method: "POST", body });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error);
  return said;
}

function show(said) {
  write("settled", said.text);
  write("partial", said.partial);
  write("note", said.note);
  if (said.picture !== undefined) place("live").innerHTML = said.picture;
}

function why(error) {
  if (!navigator.mediaDevices) return "This page can't use the microphone here: open it as http://127.0.0.1 or http://localhost.";
  if (error.name === "NotAllowedError")
    return "The browser is not allowed to use the microphone: allow it next to this page's address, then press Record again. You can also drop a file or choose a recorded utterance.";
  if (error.name === "NotFoundError") return "There is no microphone: plug one in, drop a file, or choose a recorded utterance.";
  if (error.name === "NotReadableError") return "The microphone can't be opened: another program may be using it.";
  if (error instanceof TypeError) return "The program does not answer: is python demo.py still running?";
  return error.message;
}

async function begin() {
  const context = new AudioContext();
  const mine = (sound = { context, stream: null, kept: [], sending: null });
  await context.audioWorklet.addModule("/samples.js");
  const samples = new AudioWorkletNode(context, "samples", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
  const wanted = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: true };
  mine.stream = await navigator.mediaDevices.getUserMedia({ audio: wanted });
  samples.port.onmessage = ({ data }) => {
    mine.kept.push(data);
    if (!mine.sending) mine.sending = send(mine).catch(fail);
  };
  context.createMediaStreamSource(mine.stream).connect(samples);
  mine.sending = ask(`begin?rate=${context.sampleRate}`).then(() => send(mine)); // audio that comes meanwhile is kept
  mine.sending.catch(fail);
}

async function send(mine) {
  while (mine.kept.length) show(await ask("samples", new Blob(mine.kept.splice(0))));
  mine.sending = null;
}

function close() {
  sound?.stream?.getTracks().forEach((track) => track.stop());
  if (sound?.context.state === "running") sound.context.close();
  sound = null;
  button().textContent = "Record";
  button().classList.remove("on");
}

function fail(error) {
  close();
  write("note", why(error));
}

async function end() {
  const last = sound;
  await last.context.close(); // stops the samples; otherwise the silence after the end would be included
  last.stream.getTracks().forEach((track) => track.stop());
  await last.sending;
  if (sound !== last) return; // it failed in the meantime
  if (last.kept.length) show(await ask("samples", new Blob(last.kept.splice(0))));
  close();
  await ask("end");
  trigger("submit"); // now the result is shown below
  show({ text: "", partial: "", note: "", picture: "" });
}

let busy = false; // a disabled button would lose the keyboard's focus

element.addEventListener("click", async (event) => {
  if (event.target !== button() || busy) return;
  busy = true;
  try {
    if (sound) {
      await end();
    } else {
      write("note", "");
      await begin();
      button().textContent = "Stop";
      button().classList.add("on");
    }
  } catch (error) {
    fail(error);
  }
  busy = false;
});
