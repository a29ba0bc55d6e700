// Before the first paint: the theme that was chosen last. Without a choice, or a store, the system's holds.
try {
  const theme = localStorage.getItem("hogwild-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {}
