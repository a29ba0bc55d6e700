// Before the first paint: the theme that was chosen last. Without a choice the system's holds.
const theme = localStorage.getItem("hogwild-theme");
if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
