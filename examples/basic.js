// @ts-check
import { claudeStream } from 'claude-stream';
import express from 'express';

const app = express();
app.use(express.json());
app.post('/chat', claudeStream());
app.listen(3000, '127.0.0.1', (error) => {
  if (error) throw error;
  console.log('POST http://127.0.0.1:3000/chat');
});
