// Passes the microphone's samples on, 20 ms at a time.
registerProcessor("samples", class extends AudioWorkletProcessor {
  kept = [];
  length = 0;

  process([[channel]]) {
    if (channel) {
      this.kept.push(channel.slice());
      this.length += channel.length;
    }
    if (this.length >= 0.02 * sampleRate) {
      const whole = new Float32Array(this.length);
      this.kept.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
      this.port.postMessage(whole, [whole.buffer]);
      this.kept = [];
      this.length = 0;
    }
    return true;
  }
});
