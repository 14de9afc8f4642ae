// Package browser has the tests of the console in a real browser: Chromium, driven by
// drive.mjs with playwright-core, over tables in Azurite. They use the console as a
// person does, measure what stands outside the window, let axe-core look for barriers,
// attack the console from other sites, and make the pictures of the README.
//
// make browser installs what they need. Without a Chromium they are skipped, unless
// HUBWATCH_BROWSER is "required".
package browser
