// Data that the document carries in script elements that do not run.

/** The JSON of the element with this id, or null. */
export function embedded(id) {
  const node = document.getElementById(id);
  return node ? JSON.parse(node.textContent) : null;
}

/** A URL of the video in the document, or null. */
export function embeddedVideo() {
  const node = document.getElementById("video");
  if (!node) return null;
  const [type] = node.type.split(";");
  const text = node.textContent;
  const parts = [];
  // Whole groups of four characters at a time: three bytes each.
  for (let k = 0; k < text.length; k += 1 << 20) parts.push(Uint8Array.from(atob(text.slice(k, k + (1 << 20))), (c) => c.charCodeAt(0)));
  node.remove();
  return URL.createObjectURL(new Blob(parts, { type }));
}
