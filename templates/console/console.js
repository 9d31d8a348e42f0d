// What pages do more with a script. Each page works without it.
"use strict";

// Moments in the reader's own time zone; the title keeps what the page said.
for (const time of document.querySelectorAll("time[datetime]")) {
  const at = new Date(time.dateTime);
  if (isNaN(at)) continue;
  time.title = time.textContent;
  time.textContent = at.toLocaleString(undefined, { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
}

// Copying with one click.
for (const button of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
      button.textContent = "Press Ctrl-C";
    }
  });
}

// The first mistake of a form is where the reader goes on.
document.getElementById("mistakes")?.focus();

// The progress of an import, told by the service; where that does not come through, asked for.
const watched = document.querySelector("[data-watch]");
if (watched) {
  const said = watched.querySelector("[data-progress]");
  watched.querySelector("[data-look]").hidden = true;
  const again = () => location.reload();
  const events = new EventSource(watched.dataset.watch);
  let failures = 0;
  // The service says how it stands at once: where nothing comes, what stands between holds events back.
  const heldBack = setTimeout(again, 5000);
  events.onmessage = (event) => {
    clearTimeout(heldBack);
    failures = 0;
    said.textContent = event.data;
  };
  events.addEventListener("complete", () => {
    events.close();
    again();
  });
  events.onerror = () => {
    // A browser tries again by itself, unless it was refused.
    failures += 1;
    if (failures < 3 && events.readyState !== EventSource.CLOSED) return;
    events.close();
    clearTimeout(heldBack);
    setTimeout(again, 3000);
  };
}

// A file goes in pieces, so that no proxy's limit on a request is in its way.
const PIECE_BYTES = 1000000;

async function inPieces(form, file, show) {
  const post = async (place, body) => {
    // Who is not signed in any more is told so by the form itself.
    const answer = await fetch(place, { method: "POST", body, redirect: "error" });
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.text();
  };
  if (file.size === 0) throw new Error("empty");
  const begin = new URLSearchParams({ name: file.name, bytes: file.size });
  const id = await post(form.action.replace(/import$/, "pieces"), begin);
  for (let at = 0; at < file.size; at += PIECE_BYTES) {
    const piece = file.slice(at, at + PIECE_BYTES);
    const send = () => post(`/console/pieces/${id}?at=${at}`, piece);
    // Once more, should the line have broken.
    await send().catch(send);
    show(Math.floor((Math.min(at + PIECE_BYTES, file.size) / file.size) * 100));
  }
  return post(`/console/pieces/${id}/end`, new URLSearchParams({ bytes: file.size }));
}

function inOne(form, show, tell) {
  const request = new XMLHttpRequest();
  request.upload.onprogress = (sent) => show(sent.total > 0 ? Math.floor((sent.loaded / sent.total) * 100) : 0);
  request.onload = () => {
    if (request.status === 200) {
      location.assign(request.responseURL);
      return;
    }
    const page = new DOMParser().parseFromString(request.responseText, "text/html");
    const what = page.querySelector(".mistakes li, [data-what]")?.textContent;
    tell(what || `The service answered ${request.status}.`);
  };
  request.onerror = () => tell("The file broke off on its way. Send it again.");
  request.open("POST", form.action);
  request.send(new FormData(form));
}

// A file is sent with a bar that shows how much of it has gone.
for (const form of document.querySelectorAll("form[data-upload]")) {
  const input = form.querySelector("input[type=file]");
  const drop = form.querySelector(".drop");
  const uploading = form.querySelector(".uploading");
  const bar = uploading.querySelector("progress");
  const said = uploading.querySelector("[data-said]");
  const trouble = form.querySelector("[data-trouble]");
  const button = form.querySelector("button");
  const tell = (what) => {
    trouble.textContent = what;
    trouble.hidden = false;
    uploading.hidden = true;
    button.disabled = false;
  };
  for (const name of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop" && event.dataTransfer.files.length > 0) input.files = event.dataTransfer.files;
    });
  }
  form.addEventListener("submit", (event) => {
    const file = input.files[0];
    if (!file) return;
    event.preventDefault();
    const most = Number(form.dataset.bytesMax);
    if (file.size > most) {
      tell(`The file has ${file.size.toLocaleString()} bytes; the most is ${most.toLocaleString()}.`);
      return;
    }
    const show = (percent) => {
      bar.value = percent;
      said.textContent = `${percent} %`;
    };
    inPieces(form, file, show).then(
      (place) => location.assign(place),
      // A proxy that sends each piece to another node, say: then the file goes in one request.
      () => inOne(form, show, tell),
    );
    trouble.hidden = true;
    uploading.hidden = false;
    button.disabled = true;
  });
}
