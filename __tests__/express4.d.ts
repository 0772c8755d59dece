/** Express 4 under the name by which it is installed beside Express 5; its types differ in nothing that is used here. */
declare module 'express4' {
  export { default } from 'express';
}
