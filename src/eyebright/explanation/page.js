(() => {
  "use strict";
  const desk = document.getElementById("desk");
  if (!desk) return;
  const strength = document.getElementById("strength");
  const show = () => document.querySelector("main").style.setProperty("--map", strength.value / 100);
  strength.addEventListener("input", show);
  desk.hidden = false;
  show();
})();
