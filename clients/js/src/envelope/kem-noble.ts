/** The KEM in plain JavaScript. A module of its own, so that bundlers load it only where needed. */
export { KEM_MLKEM768_X25519 } from "@panva/hpke-noble";
