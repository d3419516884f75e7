// Records for as long and at the rate that the button says, and hands the samples to the notebook through a hidden text field.
// All of it stands in a function: a cell that runs again in the same page can't declare a name twice.
(() => {
  const button = document.getElementById("ds2-record");
  const note = document.getElementById("ds2-note");

  function handOver(samples) {
    const bytes = new Uint8Array(Int16Array.from(samples, (x) => 32767 * Math.max(-1, Math.min(1, x))).buffer);
    const field = document.querySelector(".ds2-recording textarea");
    field.value = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
    for (const name of ["input", "change"]) field.dispatchEvent(new Event(name, { bubbles: true }));
  }

  function why(error) {
    if (!navigator.mediaDevices) return "This page can't use a microphone: open the notebook as http://localhost.";
    if (error.name === "NotAllowedError") return "The browser may not use the microphone: allow it, and press Record again.";
    if (error.name === "NotFoundError") return "There is no microphone.";
    return error.message;
  }

  async function record() {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const recorder = new MediaRecorder(stream);
    const pieces = [];
    const over = new Promise((resolve) => (recorder.onstop = resolve));
    recorder.ondataavailable = ({ data }) => pieces.push(data);
    recorder.start();
    note.textContent = "Speak now.";
    setTimeout(() => recorder.stop(), 1000 * button.dataset.seconds);
    await over;
    stream.getTracks().forEach((track) => track.stop());
    const context = new OfflineAudioContext(1, 1, Number(button.dataset.rate)); // which decodes to this rate
    const sound = await context.decodeAudioData(await new Blob(pieces).arrayBuffer());
    handOver(sound.getChannelData(0));
    note.textContent = "";
  }

  button.onclick = async () => {
    button.disabled = true;
    await record().catch((error) => (note.textContent = why(error)));
    button.disabled = false;
  };
})();
